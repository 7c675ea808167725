"""Truncation of texts that are longer than a tokenizer's maximum: how many are, and which before their topic."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers import BatchEncoding, PreTrainedTokenizerBase

if TYPE_CHECKING:
    from datasets import Dataset

Spans = Sequence[Sequence[int]]


def tokenized(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    targets: Sequence[str] | None = None,
    what: str = "texts",
    counted: bool = True,
    **options: Any,
) -> BatchEncoding:
    """Texts as a tokenizer makes them, cut off at its maximum, with a warning that tells how many were.

    Args:
        tokenizer: the model's; its `model_max_length` is the maximum, if no `max_length` is given.
        texts: what is read.
        targets: what is to be put out; `labels` are made of it, and how many of these are cut off is told, too.
        what: what the texts are, in the warning.
        counted: tell how many; not where batch after batch is tokenised, whose numbers would say nothing.
        **options: of the tokenizer, such as `max_length`, `return_tensors` and `padding`.
    """
    texts = list(texts)
    encoded = tokenizer(texts, truncation=True, **options)
    parts = [(what, len(texts), cut_rows(tokenizer, texts, encoded, options))]
    if targets is not None:
        targets = list(targets)
        labels = tokenizer(text_target=targets, truncation=True, **options)
        encoded["labels"] = labels["input_ids"]
        parts.append(("references", len(targets), cut_rows(tokenizer, targets, labels, options)))
    tell_cut(
        [(name, total, sum(cut)) for name, total, cut in parts], longest(tokenizer, options), counted, stacklevel=3
    )
    return encoded


def longest(tokenizer: PreTrainedTokenizerBase, options: dict[str, Any] | None = None) -> int:
    """The number of tokens at which texts are cut off."""
    return (options or {}).get("max_length") or tokenizer.model_max_length


def tell_cut(parts: Sequence[tuple[str, int, int]], maximum: int, counted: bool = True, stacklevel: int = 2) -> None:
    """Warns of texts that were cut off, if any were.

    Args:
        parts: what the texts are, how many there are, and how many were cut off.
        maximum: in tokens.
        counted: tell how many.
        stacklevel: as in `warnings.warn`.
    """
    if not (cut := [part for part in parts if part[2]]):
        return
    told = ", and ".join(f"{part} of {total} {what}" if counted else f"Some {what}" for what, total, part in cut)
    warnings.warn(
        f"{told} are longer than {maximum} tokens and are cut off there; what comes behind is not read. If the model "
        f"takes more, set tokenizer.model_max_length (now {maximum}) or max_length higher.",
        stacklevel=stacklevel + 1,
    )


def cut_rows(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], encoded: BatchEncoding, options: dict[str, Any]
) -> list[bool]:
    """Which texts a tokenizer has cut off.

    Args:
        tokenizer: the one.
        texts: what was given to it.
        encoded: what it made of them, with `truncation=True`.
        options: other options that it was given.
    """
    if encoded.encodings is not None:
        return [bool(one.overflowing) for one in encoded.encodings]
    maximum, rows = longest(tokenizer, options), encoded["input_ids"]
    # A slow tokenizer does not say; one that is not full was not cut.
    return [
        len(row) >= maximum and len(tokenizer(text, truncation=False, verbose=False)["input_ids"]) > maximum
        for text, row in zip(texts, rows, strict=True)
    ]


def cut_before(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], spans: Sequence[Spans]) -> list[bool]:
    """Which texts are cut off so that none of their spans of characters is read whole; none if that cannot be told.

    Args:
        tokenizer: the model's.
        texts: as the model is given them.
        spans: of each; a text without any is not cut off before them.
    """
    if not tokenizer.is_fast or not len(texts):
        return [False] * len(texts)
    encoded = tokenizer(list(texts), truncation=True, return_offsets_mapping=True)
    cut = cut_rows(tokenizer, texts, encoded, {})
    return [
        bool(of_row) and is_cut and not _holds_one(offsets, of_row)
        for is_cut, offsets, of_row in zip(cut, encoded["offset_mapping"], spans, strict=True)
    ]


def _holds_one(offsets: Sequence[Sequence[int]], spans: Spans) -> bool:
    """Whether tokens, by where they stand, reach from the beginning of a span to its end."""
    read = [(start, end) for start, end in offsets if end > start]
    if not read:
        return False
    first, last = min(start for start, _ in read), max(end for _, end in read)
    return any(first <= start and end <= last for start, end in spans)


def cut_topics(
    dataset: "Dataset", tokenizer: PreTrainedTokenizerBase, input_ids: Sequence[Sequence[int]]
) -> Sequence[bool]:
    """Which texts of a topic are cut off before its word, with a warning; empty if none is.

    Args:
        dataset: rows with `text` and `spans`.
        tokenizer: the model's.
        input_ids: what it makes of the texts.

    Raises:
        ValueError: if all are.
    """
    full = [row for row, ids in enumerate(input_ids) if len(ids) >= tokenizer.model_max_length]
    if not full:
        return ()
    rows = dataset.select(full)
    cut = [False] * len(input_ids)
    for row, is_cut in zip(full, cut_before(tokenizer, rows["text"], rows["spans"]), strict=True):
        cut[row] = is_cut
    tell_cut_before(sum(cut), len(cut), tokenizer)
    return cut if any(cut) else ()


def covers(offsets: Sequence[Sequence[int]], spans: Spans) -> list[bool]:
    """Which tokens, by where they stand, overlap any span of characters."""
    return [any(start < b and a < end for a, b in spans) for start, end in offsets]


def tell_cut_before(cut: int, total: int, tokenizer: PreTrainedTokenizerBase, what: str = "sentences") -> None:
    """Warns of texts that are cut off before the topic's word, if there are any.

    Args:
        cut: how many.
        total: of how many.
        tokenizer: the model's.
        what: what they are, in the warning.

    Raises:
        ValueError: if all of them are.
    """
    if not cut:
        return
    maximum = tokenizer.model_max_length
    told = (
        f"{cut} of {total} {what} are cut off before the topic's word by the tokenizer's model_max_length={maximum}: "
        "the model never reads it there"
    )
    remedy = "Set tokenizer.model_max_length higher if the model takes more, or give shorter texts"
    if cut == total:
        raise ValueError(f"{told}. {remedy}.")
    warnings.warn(f"{told}, so that they do not count. {remedy}.", stacklevel=3)
