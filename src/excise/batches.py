"""Texts and tokenised data sets as padded batches of like length."""

from collections.abc import Iterator, Sequence

import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import BatchEncoding, PreTrainedTokenizerBase


def tokenize(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, text: str = "text") -> list[list[int]]:
    """The token ids of each row: its `input_ids` if it has them, its `text` column tokenised otherwise.

    Raises:
        ValueError: if the data set is empty or has neither column.
    """
    if len(dataset) == 0:
        raise ValueError("The data set is empty; give one with at least one row.")
    if "input_ids" in dataset.column_names:
        return list(dataset["input_ids"])
    if text not in dataset.column_names:
        raise ValueError(f"The data set has neither `input_ids` nor {text!r}; its columns are {dataset.column_names}.")
    return tokenizer(list(dataset[text]), truncation=True)["input_ids"]


def shuffled_ids(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, text: str, max_tokens: int, seed: int
) -> list[list[int]]:
    """The token ids of rows in random order, enough of them for so many tokens; as `tokenize`."""
    shuffled = dataset.shuffle(seed=seed)
    # Every row has a token at least: so many rows are enough, and a large data set need not be tokenised whole.
    return tokenize(shuffled.select(range(min(len(shuffled), max_tokens))), tokenizer, text)


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
    order = sorted(range(len(input_ids)), key=lambda i: (-len(input_ids[i]), i))
    starts = range(0, len(order), batch_size)
    for start in tqdm(starts, desc=progress, unit="batch", disable=progress is None, leave=False):
        rows = order[start : start + batch_size]
        yield rows, tokenizer.pad({"input_ids": [list(input_ids[i]) for i in rows]}, return_tensors="pt")


def to_device(batch: BatchEncoding, device: torch.device) -> dict[str, torch.Tensor]:
    """What an encoder takes of a batch, on its device."""
    return {key: batch[key].to(device) for key in ("input_ids", "attention_mask")}
