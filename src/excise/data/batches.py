"""Texts, tokenised data sets and streams as batches: padded, of like length, and one after the other in a pass."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import BatchEncoding, PreTrainedTokenizerBase

from excise.data.reading import is_stream
from excise.data.truncation import Spans, covers, tokenized
from excise.storage.digests import digest
from excise.storage.processes import is_main_process

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# Rows of a stream that are in memory at once, and sorted by length.
WINDOW = 4_096


def tokenize(dataset: "Dataset", tokenizer: PreTrainedTokenizerBase, text: str = "text") -> list[Sequence[int]]:
    """The token ids of each row: its `input_ids` if it has them, its `text` column tokenised otherwise.

    Padding that rows were tokenised with is left out: what their `attention_mask` is 0 at, or, where there is none,
    padding tokens at either end.

    Args:
        dataset: rows; whatever format or transform it has, they are as they are stored.
        tokenizer: the model's.
        text: a column, or a key of a dictionary column, as in `read_column`.

    Raises:
        ValueError: if the data set is empty or has neither column, or a row has no text or no tokens.
    """
    from excise.data.columns import model_texts

    if len(dataset) == 0:
        raise ValueError("The data set is empty; give one with at least one row.")
    dataset = dataset.with_format(None)
    if "input_ids" in dataset.column_names:
        # A whole column at once, which row by row takes ten times as long.
        masks = dataset["attention_mask"][:] if "attention_mask" in dataset.column_names else None
        return unpadded(dataset["input_ids"][:], masks, tokenizer)
    texts = model_texts(dataset, text)
    there = [value for value in texts if value is not None]
    if len(there) < len(texts):
        row = texts.index(None)
        raise ValueError(f"Row {row} of the data set has no text in {text!r}. Leave out rows without one.")
    return tokenized(tokenizer, there)["input_ids"]


def unpadded(
    input_ids: Sequence[Sequence[int]],
    masks: Sequence[Sequence[int]] | None,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Sequence[int]]:
    """Token ids of rows without their padding.

    Args:
        input_ids: of each row.
        masks: what is no padding, 1; told from the tokenizer's padding token at either end of a row if not given.
        tokenizer: where its padding token is the end of a sentence too, the first of those at the end is that.

    Raises:
        ValueError: if a row has no tokens, others than whole numbers, or as many as its mask has not.
    """
    rows: list[Sequence[int]] = []
    for row, ids in enumerate(input_ids):
        if ids is None or (len(ids) and not isinstance(ids[0], int)):
            raise ValueError(f"Row {row} has `input_ids` {str(ids)[:40]}. Give token ids, whole numbers.")
        mask = masks[row] if masks is not None else None
        if mask is not None and len(mask) != len(ids):
            raise ValueError(f"Row {row} has {len(ids)} `input_ids` and an `attention_mask` of {len(mask)}. Pad both.")
        kept = _without_ends(ids, tokenizer) if mask is None else ids
        if mask is not None and not all(mask):
            kept = [token for token, real in zip(ids, mask, strict=True) if real]
        if not len(kept):
            raise ValueError(f"Row {row} of `input_ids` is {'padding alone' if len(ids) else 'empty'}. Leave it out.")
        rows.append(kept)
    return rows


def _without_ends(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> Sequence[int]:
    """A row without padding tokens at its ends."""
    start, end, padding = 0, len(ids), tokenizer.pad_token_id
    while start < end and ids[start] == padding:
        start += 1
    while end > start and ids[end - 1] == padding:
        end -= 1
    if padding is not None and padding == tokenizer.eos_token_id and end < len(ids):
        end += 1
    return ids if (start, end) == (0, len(ids)) else ids[start:end]


def token_masks(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], spans: Sequence[Spans]
) -> tuple[list[list[int]], list[list[bool]]]:
    """Token ids of each text, and which tokens overlap its spans of characters; see `cut_before` for those cut off.

    Raises:
        ValueError: if the tokenizer cannot tell where its tokens stand.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} cannot tell which characters a token stands for. "
            'Use a fast tokenizer, or positions="all".'
        )
    encoded = tokenized(tokenizer, texts, return_offsets_mapping=True)
    masks = [covers(*of_row) for of_row in zip(encoded["offset_mapping"], spans, strict=True)]
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
        yield rows, padded([input_ids[i] for i in rows], tokenizer)


def padded(input_ids: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> BatchEncoding:
    """`input_ids` and `attention_mask`, each `(batch, seq)`, on the tokenizer's side, whether it has a padding token.

    Many decoders have none; masked, so that which one fills a row up changes nothing.
    """
    chosen = [list(ids) for ids in input_ids]
    if tokenizer.pad_token_id is not None:
        return tokenizer.pad({"input_ids": chosen}, return_tensors="pt")
    ids, ones = [torch.tensor(row) for row in chosen], [torch.ones(len(row), dtype=torch.long) for row in chosen]
    columns = {"input_ids": ids, "attention_mask": ones}
    side = tokenizer.padding_side
    return BatchEncoding({name: pad_sequence(of, True, padding_side=side) for name, of in columns.items()})


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


def check_batch_size(batch_size: Any) -> None:
    """Makes sure that a batch size is a whole number of rows, at least one.

    Raises:
        ValueError: if it is not.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}: expected a whole number of rows a batch. Give 1 or more.")


class RowBatch(NamedTuple):
    """Rows of one data set, or the same rows of several.

    Args:
        number: of the batch, in the pass.
        inputs: the rows that they are of, of each data set.
        rows: their numbers in there.
        window: of a stream, a digest of the rows that were read with them; empty for what is no stream.
    """

    number: int
    inputs: tuple[Any, ...]
    rows: Sequence[int]
    window: str

    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """What a model takes of them, for each data set."""
        return [inputs.batch(self.rows) for inputs in self.inputs]


class RowBatches:
    """Batches of a data set or a stream, or of several in step, in the order in which they are best run.

    They are the same whoever goes over them, so that processes can share them. Of a stream, 4,096 rows are read at a
    time, and it is read once each time that batches are gone over.

    Args:
        datasets: one or more of equal length, all streams (`IterableDataset`) or none.
        make: the inputs of a model, made of rows.
        batch_size: rows a batch.
        progress: label of a progress bar; none is shown without it, or but by the main process.

    Raises:
        ValueError: if only some are streams, or the batch size is no whole number of rows.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        make: Callable[[Any], Any],
        batch_size: int,
        progress: str | None = None,
    ):
        check_batch_size(batch_size)
        self.datasets, self.make, self.batch_size, self.progress = datasets, make, batch_size, progress
        streams = [is_stream(dataset) for dataset in datasets]
        self.streamed = any(streams)
        if self.streamed and not all(streams):
            raise ValueError("One is a stream and the other a data set. Give two streams, or two data sets.")
        self._inputs = None if self.streamed else tuple(map(make, datasets))
        self._read = hashlib.sha256()

    def __iter__(self) -> Iterator[RowBatch]:
        hidden = self.progress is None or not is_main_process()
        total = None if self._inputs is None else -(-len(self._inputs[0]) // self.batch_size)
        number = 0
        with tqdm(desc=self.progress, total=total, unit="batch", disable=hidden, leave=False) as bar:
            for inputs, window in self._windows():
                # Of pairs, both are read as far as what counts in them.
                order = [row for row in inputs[0].order() if all(each.counts(row) for each in inputs)]
                for start in range(0, len(order), self.batch_size):
                    yield RowBatch(number, inputs, order[start : start + self.batch_size], window)
                    number += 1
                    bar.update()

    def digest(self) -> str:
        """SHA-256 of all that is in the rows and counts; of a stream, nothing, as it was not read yet."""
        return _joined(self._inputs) if self._inputs is not None else ""

    def seen(self) -> str:
        """SHA-256 of the rows of a stream that were read when it was last gone over; of a data set, nothing."""
        return self._read.hexdigest() if self.streamed else ""

    def _windows(self) -> Iterator[tuple[tuple[Any, ...], str]]:
        if self._inputs is not None:
            yield self._inputs, ""
            return
        self._read = hashlib.sha256()
        size = -(-max(WINDOW, self.batch_size) // self.batch_size) * self.batch_size
        windows, number = [stream_windows(stream, size) for stream in self.datasets], -1
        for number, parts in enumerate(zip_longest(*windows)):
            if len({None if part is None else len(part) for part in parts}) > 1:
                raise ValueError(f"The streams have different numbers of rows, after row {number * size}.")
            inputs = tuple(map(self.make, parts))
            window = _joined(inputs)
            self._read.update(window.encode())
            yield inputs, window
        if number < 0:
            raise ValueError("The stream has no rows. Give one that begins anew each time that it is read.")


def stream_windows(stream: "IterableDataset", size: int) -> Iterator["Dataset"]:
    """The rows of a stream, so many at a time, each in the form in which they are stored."""
    from datasets import Dataset

    for rows in stream.with_format(None).iter(batch_size=size):
        yield Dataset.from_dict(rows, features=stream.features)


def _joined(inputs: Sequence[Any]) -> str:
    return hashlib.sha256("".join(each.digest() for each in inputs).encode()).hexdigest()


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of all that decides which tokens a text becomes, and of the length that it is cut to."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = tokenizer.get_vocab() if backend is None else json.loads(backend.to_str())
    if backend is not None:
        state |= {"truncation": None, "padding": None}  # these change with each call
    about = [str(tokenizer.model_max_length), tokenizer.padding_side, tokenizer.truncation_side]
    return digest([state, about, sorted(map(str, tokenizer.all_special_tokens))], {})
