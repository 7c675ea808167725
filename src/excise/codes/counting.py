"""Counting of the codes that texts and images use, in one pass that runs no further than the last bottleneck."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity
from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.bottlenecks.site import bottlenecks
from excise.codes.counts import BestRanks, CodeCounts, PairedCounts, best_ranks
from excise.codes.pair_counts import PairCounts
from excise.codes.selection import SITE
from excise.data.batches import to_device
from excise.data.inputs import Inputs, Positions, Processor, inputs_of
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import ENCODINGS, check_encodings
from excise.models.key_value.pairs import PAIRS

if TYPE_CHECKING:
    from datasets import Dataset

# The paper's largest S' (section 4.2): 13 times its S.
MAX_TOP_S = 104


def count_pairs(
    model: PreTrainedModel,
    processor: Processor,
    target: "Dataset",
    control: "Dataset",
    *,
    positions: Positions = "topic",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, PairedCounts]:
    """Which codes targets and their controls use, at each site, for every S' up to `max_top_s`.

    Args:
        model: a model with bottlenecks; run in eval mode and left as it was. Its masks are in force.
        processor: the model's tokenizer or image processor; a fast tokenizer where `positions` is `"topic"`.
        target: rows with `text` and `spans`, as `topic_sets` makes them; or with an image.
        control: the same, row by row with the topic's word replaced, or what is to be forgotten taken out.
        positions: count at the tokens of the topic's word (of its replacement, in the control) or at all tokens.
            The word's neighbours change their codes with it, and those codes are needed elsewhere. In images, at all
            positions or at the `"class_token"`.
        max_top_s: the largest S'.
        batch_size: pairs a batch.
        progress: show a progress bar.

    Raises:
        ValueError: if sets are empty or of unequal length, a site has fewer live codes than `max_top_s`, or
            activations are not finite.
    """
    if len(target) != len(control):
        raise ValueError(f"There are {len(target)} targets and {len(control)} controls; they must come in pairs.")
    counter = _Counter(model, max_top_s)
    targets, controls = (_inputs(rows, processor, positions) for rows in (target, control))
    totals = {site: PairedCounts.empty(m.num_codes, max_top_s) for site, m in counter.sites.items()}
    with eval_mode(model):
        for rows, batch in targets.batches(batch_size, "counting codes of pairs" if progress else None):
            found, replaced = counter.ranks(targets, rows, batch), counter.ranks(controls, rows, controls.batch(rows))
            for site in totals:
                totals[site] = totals[site].add_batch_(found[site], replaced[site])
    return totals


def count_apart(
    model: PreTrainedModel,
    processor: Processor,
    target: "Dataset",
    control: "Dataset",
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, PairedCounts]:
    """Which codes targets use, and which controls that are not paired with them; arguments as in `count_pairs`."""
    options: dict[str, Any] = {
        "positions": positions,
        "max_top_s": max_top_s,
        "batch_size": batch_size,
        "progress": progress,
    }
    targets, controls = (count_codes(model, processor, rows, **options) for rows in (target, control))
    return {site: PairedCounts(targets[site], controls[site]) for site in targets}


def count_codes(
    model: PreTrainedModel,
    processor: Processor,
    dataset: "Dataset",
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, CodeCounts]:
    """Which codes examples use, at each site, for every S' up to `max_top_s`; arguments as in `count_pairs`.

    Of a key-value model, the data set may be what `encode_images` or `select_pairs` made, too; of pairs, there are
    counts for the model's own S' alone.
    """
    return _count(model, processor, dataset, positions, max_top_s, batch_size, progress)


def count_used(
    model: PreTrainedModel,
    processor: Processor,
    dataset: "Dataset",
    *,
    positions: Positions = "all",
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, CodeCounts]:
    """Which codes examples are passed on as, at each site, for every S' up to the model's own; else as `count_codes`.

    This is how often codes are used. A codebook passes a token on as the sum of its S best codes if the best of them is
    similar enough, however little the others are; these count here. A search does not count them: a code that is summed
    in the wake of another, and would not be passed on by itself, is not what carries the topic, and beyond the model's
    own S there is no sum that it could be in.
    """
    return _count(model, processor, dataset, positions, None, batch_size, progress)


def _count(
    model: PreTrainedModel,
    processor: Processor,
    dataset: "Dataset",
    positions: Positions,
    max_top_s: int | None,
    batch_size: int,
    progress: bool,
) -> dict[str, CodeCounts]:
    if made := {PAIRS, ENCODINGS} & {*dataset.column_names}:
        if SITE not in bottlenecks(model):
            raise ValueError(
                f"{type(model).__name__} has no key-value bottleneck, so {made.pop()} are not for it: give texts or "
                "images."
            )
        if positions != "all":
            raise ValueError(f"positions={positions!r}: {made.pop()} have no positions. Leave it out, or give 'all'.")
    if PAIRS in dataset.column_names:
        return _of_pairs(model, dataset)
    if ENCODINGS in dataset.column_names:
        check_encodings(dataset, cast(KeyValueForImageClassification, model))
    counter = _Counter(model, max_top_s)
    inputs = _inputs(dataset, processor, positions)
    totals = {site: CodeCounts.empty(m.num_codes, max_top_s or m.top_s) for site, m in counter.sites.items()}
    with eval_mode(model):
        for rows, batch in inputs.batches(batch_size, "counting codes" if progress else None):
            for site, ranks in counter.ranks(inputs, rows, batch).items():
                totals[site] = totals[site].add_batch_(ranks)
    return _identified(totals, counter.sites)


def _identified(totals: Mapping[str, CodeCounts], sites: Mapping[str, Bottleneck]) -> dict[str, CodeCounts]:
    return {site: replace(counts, identity=Identity.of({site: sites[site]})) for site, counts in totals.items()}


def _of_pairs(model: PreTrainedModel, pairs: "Dataset") -> dict[str, CodeCounts]:
    ((site, bottleneck),) = bottlenecks(model).items()
    # An encoding selects a pair at the model's own S' or not at all, so every smaller rank has none.
    examples = torch.zeros(bottleneck.top_s, bottleneck.num_codes, dtype=torch.int64)
    examples[-1] = torch.from_numpy(PairCounts.count(pairs, cast(KeyValueBottleneck, bottleneck)).of_all())
    return _identified({site: CodeCounts(examples, len(pairs))}, {site: bottleneck})


def _inputs(dataset: "Dataset", processor: Processor, positions: Positions) -> Inputs:
    if len(dataset) == 0:
        raise ValueError("There is nothing to count: the set is empty.")
    return inputs_of(dataset, processor, positions=positions)


class _Counter:
    """Ranks the codes of a batch's counted inputs at every site; without a largest S', those that are passed on."""

    def __init__(self, model: PreTrainedModel, max_top_s: int | None):
        self.model, self.max_top_s = model, max_top_s
        self.sites = bottlenecks(model)
        for site, bottleneck in self.sites.items():
            live = bottleneck.max_top_s
            if max_top_s is not None and not 1 <= max_top_s <= live:
                raise ValueError(f"max_top_s={max_top_s}: {site} has {live} live codes. Give a number from 1 to that.")

    @torch.no_grad()
    def ranks(self, inputs: Inputs, rows: Sequence[int], batch: dict[str, Tensor]) -> dict[str, BestRanks]:
        """By site, the best rank of each code in each example of a batch."""
        ranked = {}
        for site, arrived in bottleneck_inputs(self.model, to_device(batch, self.model.device)).items():
            bottleneck = self.sites[site]
            where = inputs.positions_mask(rows, batch, arrived.shape[:-1]).to(arrived.device)
            if self.max_top_s is not None:
                codes, _ = bottleneck.rank(arrived[where], self.max_top_s)
            else:
                # Each token by itself: the codes of a whole example would not tell which of them are padding's.
                counted = arrived[where][:, None] if arrived.dim() > 2 else arrived[where]
                codes = bottleneck.selected(counted)[0].unflatten(1, (bottleneck.num_groups, bottleneck.top_s))
            examples = where.nonzero()[:, 0].to(codes.device).repeat_interleave(codes.shape[1])
            ranked[site] = best_ranks(codes.flatten(0, 1), examples, len(where), bottleneck.num_codes)
        return ranked
