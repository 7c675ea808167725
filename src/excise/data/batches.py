"""Texts and tokenised data sets as padded batches of like length."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm
from transformers import BatchEncoding, PreTrainedTokenizerBase

if TYPE_CHECKING:
    from datasets import Dataset


def tokenize(dataset: "Dataset", tokenizer: PreTrainedTokenizerBase, text: str = "text") -> list[list[int]]:
    """The token ids of each row: its `input_ids` if it has them, its `text` column tokenised otherwise.

    Raises:
        ValueError: if the data set is empty or has neither column.
    """
    if len(dataset) == 0:
        raise ValueError("The data set is empty; give one with at least one row.")
    if "input_ids" in dataset.column_names:
        return list(dataset["input_ids"][:])  # a whole column at once, which row by row takes ten times as long
    if text not in dataset.column_names:
        raise ValueError(f"The data set has neither `input_ids` nor {text!r}; its columns are {dataset.column_names}.")
    return tokenizer(list(dataset[text][:]), truncation=True)["input_ids"]


def token_masks(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], spans: Sequence[Sequence[Sequence[int]]]
) -> tuple[list[list[int]], list[list[bool]]]:
    """Token ids of each text, and which tokens overlap its spans of characters.

    Raises:
        ValueError: if the tokenizer cannot tell where its tokens stand.
    """
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


def longest_first(input_ids: Sequence[Sequence[int]]) -> list[int]:
    """Rows sorted by length, so that little is padding and memory runs out at once or never."""
    return sorted(range(len(input_ids)), key=lambda i: (-len(input_ids[i]), i))


def padded_batches(
    input_ids: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int = 128,
    progress: str | None = None,
) -> Iterator[tuple[list[int], BatchEncoding]]:
    """Batches of rows sorted by length, longest first, so that little is padding and memory runs out at once or never.

    Args:
        input_ids: token ids of each row.
        tokenizer: pads them.
        batch_size: rows a batch.
        progress: label of a progress bar; none is shown without it.

    Yields:
        The indices of the batch's rows, and `input_ids` and `attention_mask`, each `(batch, seq)`.
    """
    order = longest_first(input_ids)
    starts = range(0, len(order), batch_size)
    for start in tqdm(starts, desc=progress, unit="batch", disable=progress is None, leave=False):
        rows = order[start : start + batch_size]
        yield rows, tokenizer.pad({"input_ids": [list(input_ids[i]) for i in rows]}, return_tensors="pt")


def encoder_inputs(batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What a model runs on as far as its bottlenecks: pixels or encodings, or else token ids and their mask."""
    for name in ("pixel_values", "encodings"):
        if batch.get(name) is not None:
            return {name: batch[name]}
    input_ids, mask = batch["input_ids"], batch.get("attention_mask")
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids) if mask is None else mask}


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """What a model runs on as far as its bottlenecks, on its device."""
    return {key: value.to(device) for key, value in encoder_inputs(batch).items()}


def real_tokens(hidden_states: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The activations of a batch that are no padding's, `(tokens, dim)`; all of them where there is none."""
    mask = batch.get("attention_mask")
    return hidden_states.flatten(0, -2) if mask is None else hidden_states[mask.bool().to(hidden_states.device)]
