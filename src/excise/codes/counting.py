"""Counting of the codes that texts and images use, in one pass that runs no further than the last bottleneck."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity
from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.bottlenecks.site import bottlenecks, unwrapped
from excise.codes.counts import BestRanks, CodeCounts, PairedCounts, best_ranks
from excise.codes.pair_counts import PairCounts
from excise.codes.passes import checked_index, counted, folder_in
from excise.codes.selection import SITE
from excise.data.batches import RowBatch, RowBatches, to_device
from excise.data.inputs import Inputs, Positions, Processor, Texts, inputs_of
from excise.data.reading import is_stream, refuse_stream
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import ENCODINGS, check_encodings
from excise.models.key_value.pairs import PAIRS

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from excise.codes.index import CodeIndex
    from excise.codes.index.ranks import IndexedRanks

# The paper's largest S' (section 4.2): 13 times its S.
MAX_TOP_S = 104


def count_pairs(
    model: PreTrainedModel,
    processor: Processor,
    target: "Dataset | IterableDataset",
    control: "Dataset | IterableDataset",
    *,
    positions: Positions = "topic",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
    index: "CodeIndex | None" = None,
) -> dict[str, PairedCounts]:
    """Which codes targets and their controls use, at each site, for every S' up to `max_top_s`.

    The processes of a run (`torchrun`) that call it share the batches, and each gets the counts of all.

    Args:
        model: a model with bottlenecks; run in eval mode and left as it was. Its masks are in force.
        processor: the model's tokenizer or image processor; a fast tokenizer where `positions` is `"topic"`.
        target: rows with `text` and `spans`, as `topic_sets` makes them; or with an image. A stream will do, if the
            control is one too.
        control: the same, row by row with the topic's word replaced, or what is to be forgotten taken out.
        positions: count at the tokens of the topic's word (of its replacement, in the control) or at all tokens.
            The word's neighbours change their codes with it, and those codes are needed elsewhere. In images, at all
            positions or at the `"class_token"`.
        max_top_s: the largest S'.
        batch_size: pairs a batch.
        checkpoint: a folder to keep counts in, every minute. A run that was killed goes on from it, with as many
            processes as there are then; what was counted in the same way is not counted again.
        progress: show a progress bar.
        index: of a corpus, built with this model: texts that are in it are not run.

    Raises:
        ValueError: if sets are empty or of unequal length, a site has fewer live codes than `max_top_s`, activations
            are not finite, the checkpoint is of another model, other data or other settings, or the index of another
            model, or of this one before more training.
    """
    lengths = [len(rows) for rows in (target, control) if not is_stream(rows)]
    if len({*lengths}) > 1:
        raise ValueError(f"There are {lengths[0]} targets and {lengths[1]} controls; they must come in pairs.")
    model = unwrapped(model)
    counter = _Counter(model, max_top_s, index)

    def empty() -> dict[str, PairedCounts]:
        return {site: PairedCounts.empty(m.num_codes, max_top_s) for site, m in counter.sites.items()}

    def step(totals: dict[str, PairedCounts], batch: RowBatch) -> dict[str, PairedCounts]:
        found, replaced = counter.of_batch(batch)
        return {site: counts.add_batch_(found[site], replaced[site]) for site, counts in totals.items()}

    label = "counting codes of pairs" if progress else None
    batches = _batches([target, control], processor, positions, batch_size, label)
    settings = _settings("count_pairs", positions, max_top_s, batch_size)
    with eval_mode(model):
        return counted(model, batches, settings, empty, step, checkpoint)


def count_apart(
    model: PreTrainedModel,
    processor: Processor,
    target: "Dataset | IterableDataset",
    control: "Dataset | IterableDataset",
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
    index: "CodeIndex | None" = None,
) -> dict[str, PairedCounts]:
    """Which codes targets use, and which controls that are not paired with them; arguments as in `count_pairs`."""
    options: dict[str, Any] = {
        "positions": positions,
        "max_top_s": max_top_s,
        "batch_size": batch_size,
        "progress": progress,
        "index": index,
    }
    sets = {"target": target, "control": control}
    targets, controls = (
        count_codes(model, processor, rows, checkpoint=folder_in(checkpoint, name), **options)
        for name, rows in sets.items()
    )
    return {site: PairedCounts(targets[site], controls[site]) for site in targets}


def count_codes(
    model: PreTrainedModel,
    processor: Processor,
    dataset: "Dataset | IterableDataset",
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
    index: "CodeIndex | None" = None,
) -> dict[str, CodeCounts]:
    """Which codes examples use, at each site, for every S' up to `max_top_s`.

    The processes of a run (`torchrun`) that call it share the batches, and each gets the counts of all. Counts of
    parts add up: `counts[site] + others[site]`.

    Args:
        model: a model with bottlenecks; run in eval mode and left as it was. Its masks are in force.
        processor: the model's tokenizer or image processor; a fast tokenizer where `positions` is `"topic"`.
        dataset: rows with a text or `input_ids`, or with an image; a stream (`IterableDataset`) will do. Of a key-value
            model, it may be what `encode_images` or `select_pairs` made, too; of pairs, there are counts for the
            model's own S' alone, and no checkpoint.
        positions: as in `CodeFinder.count_topic`.
        max_top_s: the largest S'.
        batch_size: examples a batch.
        checkpoint: as in `count_pairs`.
        progress: show a progress bar.

    Raises:
        ValueError: if the set is empty, a site has fewer live codes than `max_top_s`, activations are not finite, or
            the checkpoint is of another model, other data or other settings.
    """
    return _count(model, processor, dataset, positions, max_top_s, batch_size, checkpoint, progress, index)


def count_used(
    model: PreTrainedModel,
    processor: Processor,
    dataset: "Dataset | IterableDataset",
    *,
    positions: Positions = "all",
    batch_size: int = 32,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
    index: "CodeIndex | None" = None,
) -> dict[str, CodeCounts]:
    """Which codes examples are passed on as, at each site, for every S' up to the model's own; else as `count_codes`.

    This is how often codes are used. A codebook passes a token on as the sum of its S best codes if the best of them is
    similar enough, however little the others are; these count here. A search does not count them: a code that is summed
    in the wake of another, and would not be passed on by itself, is not what carries the topic, and beyond the model's
    own S there is no sum that it could be in.
    """
    return _count(model, processor, dataset, positions, None, batch_size, checkpoint, progress, index)


def _count(
    model: PreTrainedModel,
    processor: Processor,
    dataset: "Dataset | IterableDataset",
    positions: Positions,
    max_top_s: int | None,
    batch_size: int,
    checkpoint: str | os.PathLike | None,
    progress: bool,
    index: "CodeIndex | None",
) -> dict[str, CodeCounts]:
    model = unwrapped(model)
    if made := {PAIRS, ENCODINGS} & {*(dataset.column_names or ())}:
        refuse_stream(dataset)
        if SITE not in bottlenecks(model):
            raise ValueError(
                f"{type(model).__name__} has no key-value bottleneck, so {made.pop()} are not for it: give texts or "
                "images."
            )
        if positions != "all":
            raise ValueError(f"positions={positions!r}: {made.pop()} have no positions. Leave it out, or give 'all'.")
    if PAIRS in made:
        return _of_pairs(model, cast("Dataset", dataset))
    if ENCODINGS in made:
        check_encodings(dataset, cast(KeyValueForImageClassification, model))
    counter = _Counter(model, max_top_s, index)

    def empty() -> dict[str, CodeCounts]:
        return {site: CodeCounts.empty(m.num_codes, max_top_s or m.top_s) for site, m in counter.sites.items()}

    def step(totals: dict[str, CodeCounts], batch: RowBatch) -> dict[str, CodeCounts]:
        (found,) = counter.of_batch(batch)
        return {site: counts.add_batch_(found[site]) for site, counts in totals.items()}

    batches = _batches([dataset], processor, positions, batch_size, "counting codes" if progress else None)
    settings = _settings("count_codes" if max_top_s else "count_used", positions, max_top_s, batch_size)
    with eval_mode(model):
        totals = counted(model, batches, settings, empty, step, checkpoint)
    return _identified(totals, counter.sites)


def _identified(totals: Mapping[str, CodeCounts], sites: Mapping[str, Bottleneck]) -> dict[str, CodeCounts]:
    return {site: replace(counts, identity=Identity.of({site: sites[site]})) for site, counts in totals.items()}


def _of_pairs(model: PreTrainedModel, pairs: "Dataset") -> dict[str, CodeCounts]:
    ((site, bottleneck),) = bottlenecks(model).items()
    # An encoding selects a pair at the model's own S' or not at all, so every smaller rank has none.
    examples = torch.zeros(bottleneck.top_s, bottleneck.num_codes, dtype=torch.int64)
    examples[-1] = torch.from_numpy(PairCounts.count(pairs, cast(KeyValueBottleneck, bottleneck)).of_all())
    return _identified({site: CodeCounts(examples, len(pairs))}, {site: bottleneck})


def _batches(
    datasets: Sequence["Dataset | IterableDataset"],
    processor: Processor,
    positions: Positions,
    batch_size: int,
    label: str | None,
) -> RowBatches:
    if any(not is_stream(dataset) and len(dataset) == 0 for dataset in datasets):
        raise ValueError("There is nothing to count: the set is empty.")
    return RowBatches(datasets, lambda rows: inputs_of(rows, processor, positions=positions), batch_size, label)


def _settings(function: str, positions: Positions, max_top_s: int | None, batch_size: int) -> dict[str, Any]:
    return {"function": function, "positions": positions, "max_top_s": max_top_s, "batch_size": batch_size}


class _Counter:
    """Ranks the codes of a batch's counted inputs at every site; without a largest S', those that are passed on."""

    def __init__(self, model: PreTrainedModel, max_top_s: int | None, index: "CodeIndex | None" = None):
        self.model, self.max_top_s, self.index = model, max_top_s, checked_index(index)
        self._indexed: WeakKeyDictionary[Inputs, IndexedRanks] = WeakKeyDictionary()
        self.sites = bottlenecks(model)
        for site, bottleneck in self.sites.items():
            live = bottleneck.max_top_s
            if max_top_s is not None and not 1 <= max_top_s <= live:
                raise ValueError(f"max_top_s={max_top_s}: {site} has {live} live codes. Give a number from 1 to that.")

    def of_batch(self, batch: RowBatch) -> list[dict[str, BestRanks]]:
        """The ranks in each data set of a batch."""
        return [self.ranks(inputs, batch.rows, inputs.batch(batch.rows)) for inputs in batch.inputs]

    def ranks(self, inputs: Inputs, rows: Sequence[int], batch: dict[str, Tensor]) -> dict[str, BestRanks]:
        """By site, the best rank of each code in each example of a batch."""
        if self.index is None or not isinstance(inputs, Texts):
            return self._run(inputs, rows, batch)
        if inputs not in self._indexed:
            self._indexed[inputs] = self.index.ranks(self.model, inputs, self.max_top_s, self.max_top_s is None)
        indexed = self._indexed[inputs]
        there, absent = ([i for i, row in enumerate(rows) if bool(indexed.has[row]) == has] for has in (True, False))
        if not there:
            return self._run(inputs, rows, batch)
        from excise.codes.index.ranks import merged

        known, rest = indexed.best([rows[i] for i in there]), [rows[i] for i in absent]
        if not rest:
            return known
        parts = [(there, known), (absent, self._run(inputs, rest, inputs.batch(rest)))]
        return merged(parts, {site: of.num_codes for site, of in self.sites.items()})

    @torch.no_grad()
    def _run(self, inputs: Inputs, rows: Sequence[int], batch: dict[str, Tensor]) -> dict[str, BestRanks]:
        ranked, reached = {}, bottleneck_inputs(self.model, to_device(batch, self.model.device))
        for site, arrived in reached.items():
            bottleneck = self.sites[site]
            where = reached.through_codes(site, inputs.positions_mask(rows, batch, arrived.shape[:-1]))
            if self.max_top_s is not None:
                codes, _ = bottleneck.rank(arrived[where], self.max_top_s)
            else:
                # Each token by itself: the codes of a whole example would not tell which of them are padding's.
                counted = arrived[where][:, None] if arrived.dim() > 2 else arrived[where]
                codes = bottleneck.selected(counted)[0].unflatten(1, (bottleneck.num_groups, bottleneck.top_s))
            examples = where.nonzero()[:, 0].to(codes.device).repeat_interleave(codes.shape[1])
            ranked[site] = best_ranks(codes.flatten(0, 1), examples, len(where), bottleneck.num_codes)
        return ranked
