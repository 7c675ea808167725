"""One pass over texts that counts which codes they use, and runs no further than the last bottleneck."""

from collections.abc import Sequence

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.activations import bottleneck_inputs
from excise.batches import padded_batches, to_device
from excise.enrichment import Positions
from excise.models.site import bottlenecks
from excise.modes import eval_mode
from excise.usage import CodeUsage, PairedUsage, best_ranks

# The paper's largest S' (section 4.2): 13 times its S.
MAX_TOP_S = 104


def profile_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    target: Dataset,
    control: Dataset,
    *,
    positions: Positions = "topic",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, PairedUsage]:
    """Which codes targets and their controls use, at each site, for every S' up to `max_top_s`.

    Args:
        model: a model with bottlenecks; run in eval mode and left as it was. Its masks are in force.
        tokenizer: the model's; a fast one where `positions` is `"topic"`.
        target: rows with `text` and `spans`, as `topic_sets` makes them.
        control: the same, row by row with the topic's word replaced.
        positions: count at the tokens of the topic's word (of its replacement, in the control) or at all tokens.
            The word's neighbours change their codes with it, and those codes are needed elsewhere.
        max_top_s: the largest S'.
        batch_size: pairs a batch.
        progress: show a progress bar.

    Raises:
        ValueError: if sets are empty or of unequal length, a site has fewer live codes than `max_top_s`, or
            activations are not finite.
    """
    if len(target) != len(control):
        raise ValueError(f"There are {len(target)} targets and {len(control)} controls; they must come in pairs.")
    counter = _Counter(model, tokenizer, max_top_s, positions)
    target_ids, target_masks = counter.prepare(target)
    control_ids, control_masks = counter.prepare(control)
    totals = {site: PairedUsage.empty(m.num_codes, max_top_s) for site, m in counter.sites.items()}
    with eval_mode(model):
        label = "profiling pairs" if progress else None
        for rows, batch in padded_batches(target_ids, tokenizer, batch_size, progress=label):
            found = counter.codes(batch, [target_masks[i] for i in rows])
            batch = tokenizer.pad({"input_ids": [control_ids[i] for i in rows]}, return_tensors="pt")
            replaced = counter.codes(batch, [control_masks[i] for i in rows])
            for site in totals:
                totals[site] = totals[site].add_batch_(*found[site], *replaced[site])
    return totals


def profile(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    *,
    positions: Positions = "all",
    max_top_s: int = MAX_TOP_S,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, CodeUsage]:
    """Which codes examples use, at each site, for every S' up to `max_top_s`; arguments as in `profile_pairs`."""
    counter = _Counter(model, tokenizer, max_top_s, positions)
    input_ids, masks = counter.prepare(dataset)
    totals = {site: CodeUsage.empty(m.num_codes, max_top_s) for site, m in counter.sites.items()}
    with eval_mode(model):
        for rows, batch in padded_batches(input_ids, tokenizer, batch_size, progress="profiling" if progress else None):
            for site, counted in counter.codes(batch, [masks[i] for i in rows]).items():
                totals[site] = totals[site].add_batch_(*counted)
    return totals


def token_masks(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], spans: Sequence[Sequence[Sequence[int]]] | None
) -> tuple[list[list[int]], list[list[bool]]]:
    """Token ids of each text, and which tokens overlap its spans of characters (all tokens, without spans).

    Raises:
        ValueError: if spans are given and the tokenizer cannot tell where its tokens stand.
    """
    if spans is None:
        input_ids = tokenizer(list(texts), truncation=True)["input_ids"]
        return input_ids, [[True] * len(ids) for ids in input_ids]
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} cannot tell which characters a token stands for. "
            'Use a fast tokenizer, or positions="all".'
        )
    encoded = tokenizer(list(texts), truncation=True, return_offsets_mapping=True)
    masks = [
        [any(start < b and a < end for a, b in wanted) for start, end in offsets]
        for offsets, wanted in zip(encoded["offset_mapping"], spans, strict=True)
    ]
    return encoded["input_ids"], masks


class _Counter:
    """Looks up the codes of a batch's counted tokens at every site."""

    def __init__(self, model, tokenizer, max_top_s: int, positions: Positions):
        if positions not in ("topic", "all"):
            raise ValueError(f"positions={positions!r}: expected 'topic' or 'all'.")
        self.model, self.tokenizer, self.max_top_s, self.positions = model, tokenizer, max_top_s, positions
        self.sites = bottlenecks(model)
        for site, bottleneck in self.sites.items():
            if not 1 <= max_top_s <= (live := int(bottleneck.live.sum())):
                raise ValueError(f"max_top_s={max_top_s}: {site} has {live} live codes. Give a number from 1 to that.")

    def prepare(self, dataset: Dataset):
        if len(dataset) == 0:
            raise ValueError("There is nothing to profile: the set is empty.")
        spans = dataset["spans"] if self.positions == "topic" else None
        return token_masks(self.tokenizer, dataset["text"], spans)

    @torch.no_grad()
    def codes(self, batch, masks) -> dict[str, tuple[Tensor, Tensor]]:
        """By site, the counted tokens' codes and each example's best ranks."""
        batch = to_device(batch, self.model.device)
        counted = torch.zeros_like(batch["attention_mask"], dtype=torch.bool)
        # The tokens of a row are where its attention mask is 1, on whichever side the padding is.
        counted[batch["attention_mask"].bool()] = torch.tensor([m for row in masks for m in row]).to(counted.device)
        rows = counted.nonzero()[:, 0]
        found = {}
        for site, hidden_states in bottleneck_inputs(self.model, batch).items():
            bottleneck = self.sites[site]
            where = counted.to(hidden_states.device)
            codes, cosines = bottleneck.similar_codes(bottleneck.encode(hidden_states[where]), self.max_top_s)
            # A less similar code could not be passed on even if all better ones were gone.
            codes = codes.masked_fill(cosines < bottleneck.min_similarity, -1)
            ranks = best_ranks(codes, rows.to(codes.device), len(counted), bottleneck.num_codes)
            found[site] = codes, ranks
        return found
