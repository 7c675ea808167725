"""The counts that a topic's codes are chosen by."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottlenecks
from excise.codes.counts import CodeCounts, PairedCounts, best_ranks
from excise.codes.enrichment import Enrichment, Method, enrich_counts
from excise.data.batches import to_device
from excise.data.inputs import Inputs, Positions, Processor, inputs_of
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.storage.files import new_folder

# Its name is of version 0.1.
COUNTS = "profile.json"


@dataclass(frozen=True)
class TopicCounts:
    """Which codes a topic uses, at each site and for every S'.

    Attributes:
        topic: whose codes were counted, in words.
        pairs: by site, counts over targets and their controls.
        retain: by site, counts over the retain set; empty where it was not counted.
        positions: `"topic"`, `"class_token"` or `"all"`, the tokens counted in targets and controls.
        data: digests of the sets counted.
    """

    topic: str
    pairs: Mapping[str, PairedCounts]
    retain: Mapping[str, CodeCounts]
    positions: Positions
    data: Mapping[str, str]

    @property
    def max_top_s(self) -> int:
        """The largest S' that there are counts for."""
        return next(iter(self.pairs.values())).target.max_top_s

    def enrich(self, top_s: int, method: Method = "mcnemar") -> Enrichment:
        """One row per code: frequencies, ratio, p and q, at one S'."""
        tables = {site: pairs.table(top_s, self.retain.get(site)) for site, pairs in self.pairs.items()}
        return enrich_counts(tables, method, top_s=top_s, positions=self.positions)

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the counts of each site and what they are of into a new or empty folder.

        Raises:
            FileExistsError: if the folder holds something.
        """
        sites = list(self.pairs)
        about = {"topic": self.topic, "sites": sites, "positions": self.positions, "data": dict(self.data)}
        with new_folder(folder) as partial:
            for i, site in enumerate(sites):
                self.pairs[site].save(partial / f"pairs-{i}.safetensors")
                if site in self.retain:
                    self.retain[site].save(partial / f"retain-{i}.safetensors")
            (partial / COUNTS).write_text(json.dumps(about, indent=2))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "TopicCounts":
        """The counts that `save` wrote.

        Raises:
            ValueError: if the folder holds none.
        """
        folder = Path(folder)
        if not (folder / COUNTS).is_file():
            raise ValueError(
                f"{folder} holds no counts of a topic ({COUNTS} is missing). Make some with `TopicCounts.save`."
            )
        about = json.loads((folder / COUNTS).read_text())
        sites = list(enumerate(about.pop("sites")))
        return cls(
            pairs={site: PairedCounts.load(folder / f"pairs-{i}.safetensors") for i, site in sites},
            retain={
                site: CodeCounts.load(path)
                for i, site in sites
                if (path := folder / f"retain-{i}.safetensors").is_file()
            },
            **about,
        )


# The paper's largest S' (section 4.2): 13 times its S.
MAX_TOP_S = 104


def count_pairs(
    model: PreTrainedModel,
    processor: Processor,
    target: Dataset,
    control: Dataset,
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
    target: Dataset,
    control: Dataset,
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, PairedCounts]:
    """Which codes targets use, and which controls that are not paired with them; arguments as in `count_pairs`."""
    options = {"positions": positions, "max_top_s": max_top_s, "batch_size": batch_size, "progress": progress}
    targets, controls = (count_codes(model, processor, rows, **options) for rows in (target, control))
    return {site: PairedCounts(targets[site], controls[site]) for site in targets}


def count_codes(
    model: PreTrainedModel,
    processor: Processor,
    dataset: Dataset,
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, CodeCounts]:
    """Which codes examples use, at each site, for every S' up to `max_top_s`; arguments as in `count_pairs`."""
    counter = _Counter(model, max_top_s)
    inputs = _inputs(dataset, processor, positions)
    totals = {site: CodeCounts.empty(m.num_codes, max_top_s) for site, m in counter.sites.items()}
    with eval_mode(model):
        for rows, batch in inputs.batches(batch_size, "counting codes" if progress else None):
            for site, ranks in counter.ranks(inputs, rows, batch).items():
                totals[site] = totals[site].add_batch_(ranks)
    return totals


def _inputs(dataset: Dataset, processor: Processor, positions: Positions) -> Inputs:
    if len(dataset) == 0:
        raise ValueError("There is nothing to count: the set is empty.")
    return inputs_of(dataset, processor, positions=positions)


class _Counter:
    """Looks up the codes of a batch's counted tokens at every site."""

    def __init__(self, model: PreTrainedModel, max_top_s: int):
        self.model, self.max_top_s = model, max_top_s
        self.sites = bottlenecks(model)
        for site, bottleneck in self.sites.items():
            if not 1 <= max_top_s <= (live := int(bottleneck.live.sum())):
                raise ValueError(f"max_top_s={max_top_s}: {site} has {live} live codes. Give a number from 1 to that.")

    @torch.no_grad()
    def ranks(self, inputs: Inputs, rows, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """By site, the best rank of each code in each example, `(examples, num_codes)`."""
        batch = to_device(batch, self.model.device)
        ranked = {}
        for site, hidden_states in bottleneck_inputs(self.model, batch).items():
            bottleneck = self.sites[site]
            where = inputs.positions_mask(rows, batch, hidden_states.shape[:-1]).to(hidden_states.device)
            codes, cosines = bottleneck.similar_codes(bottleneck.encode(hidden_states[where]), self.max_top_s)
            # A less similar code could not be passed on even if all better ones were gone.
            codes = codes.masked_fill(cosines < bottleneck.min_similarity, -1)
            ranks = best_ranks(codes, where.nonzero()[:, 0].to(codes.device), len(where), bottleneck.num_codes)
            ranked[site] = ranks
        return ranked
