"""Rows of a data set as a model takes them: texts through a tokenizer, images through an image processor."""

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import BaseImageProcessor, PreTrainedTokenizerBase, ProcessorMixin

from excise.data.batches import WINDOW, RowBatches, longest_first, padded, stream_windows, token_masks, tokenize
from excise.data.images import image_column, images_digest, pixel_values
from excise.data.reading import as_rows, is_stream
from excise.data.truncation import cut_topics
from excise.storage.digests import digest
from excise.storage.expected import ARGUMENTS

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# The column of what a frozen encoder made of images.
ENCODINGS = "encodings"
# Of a text, the tokens of the topic's words or all tokens; of an image, all positions or the class token alone.
Positions = Literal["topic", "all", "class_token"]


def check_positions(positions: str) -> None:
    """Refuses what is no kind of positions.

    Raises:
        ValueError: if it is none.
    """
    if positions not in get_args(Positions):
        raise ValueError(f"positions={positions!r}: expected one of {', '.join(map(repr, get_args(Positions)))}.")


Processor: TypeAlias = PreTrainedTokenizerBase | BaseImageProcessor | ProcessorMixin


class Inputs(ABC):
    """Rows that a model with bottlenecks can be run on, batch by batch."""

    cut: Sequence[bool] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def order(self) -> Sequence[int]:
        """The rows in the order in which they are best run."""

    @abstractmethod
    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """What a model takes of some rows."""

    def counts(self, row: int) -> bool:
        """Whether a row takes part in tests: not a text that is cut off before all that counts in it."""
        return not (self.cut and self.cut[row])

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of the rows, and of which positions count."""

    @abstractmethod
    def positions_mask(self, rows: Sequence[int], batch: dict[str, Tensor], shape: torch.Size) -> Tensor:
        """The positions that count, bool `(batch, seq)`, in a batch of some rows whose activations have this shape."""

    def batches(self, batch_size: int, progress: str | None = None) -> Iterator[tuple[Sequence[int], dict]]:
        """All rows, and what a model takes of them.

        Args:
            batch_size: rows a batch.
            progress: label of a progress bar; none is shown without it.
        """
        order = self.order()
        starts = range(0, len(order), batch_size)
        for start in tqdm(starts, desc=progress, unit="batch", disable=progress is None, leave=False):
            rows = order[start : start + batch_size]
            yield rows, self.batch(rows)


class Texts(Inputs):
    """Tokenised texts, which tokens of each count (all but padding if not given), and which are cut off before."""

    def __init__(
        self,
        input_ids: Sequence[Sequence[int]],
        tokenizer: PreTrainedTokenizerBase,
        masks: Sequence[Sequence[bool]] | None = None,
        cut: Sequence[bool] = (),
    ):
        self.input_ids, self.tokenizer, self.masks, self.cut = input_ids, tokenizer, masks, cut

    def __len__(self) -> int:
        return len(self.input_ids)

    def order(self) -> list[int]:
        """Longest first, so that little is padding and memory runs out at once or never."""
        return longest_first(self.input_ids)

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, each `(batch, seq)`."""
        return dict(padded([self.input_ids[i] for i in rows], self.tokenizer))

    def digest(self) -> str:
        """Of the token ids, and of which of them count."""
        sha = hashlib.sha256(f"{self.tokenizer.padding_side} {self.tokenizer.pad_token_id}".encode())
        for column in (self.input_ids, self.masks or ()):
            for row in column:
                sha.update(array("q", row).tobytes() + b";")
            sha.update(b".")
        return sha.hexdigest()

    def positions_mask(self, rows: Sequence[int], batch: dict[str, Tensor], shape: torch.Size) -> Tensor:
        """The tokens that count."""
        mask = batch["attention_mask"].bool()
        if self.masks is None:
            return mask
        counted = torch.zeros_like(mask)
        # The tokens of a row are where its attention mask is 1, on whichever side the padding is.
        counted[mask] = torch.tensor([m for i in rows for m in self.masks[i]]).to(counted.device)
        return counted


class Images(Inputs):
    """Images, in the order of the data set, of which all positions count, or the class token alone."""

    def __init__(self, dataset: "Dataset", processor: BaseImageProcessor, class_token: bool = False):
        self.dataset, self.processor, self.image = dataset, processor, image_column(dataset)
        self.class_token = class_token

    def __len__(self) -> int:
        return len(self.dataset)

    def order(self) -> range:
        """As they come."""
        return range(len(self))

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """`pixel_values`, `(batch, channels, height, width)`."""
        return {"pixel_values": pixel_values(self.dataset, self.processor, rows, self.image)}

    def digest(self) -> str:
        """Of the images as they are stored, and of what is made of them."""
        about = [images_digest(self.dataset, self.image), self.processor.to_json_string(), self.class_token]
        return digest(about, {})

    def positions_mask(self, rows: Sequence[int], batch: dict[str, Tensor], shape: torch.Size) -> Tensor:
        """The first position, where the class token stands, or all."""
        counted = torch.ones(shape, dtype=torch.bool)
        if self.class_token:
            if len(shape) < 2:
                raise ValueError('positions="class_token": this model has one encoding an image, so count "all".')
            counted[:, 1:] = False
        return counted


class Encodings(Inputs):
    """What a frozen encoder made of images, in the order of the data set."""

    def __init__(self, dataset: "Dataset"):
        self.dataset = dataset.select_columns(ENCODINGS).with_format("torch")

    def __len__(self) -> int:
        return len(self.dataset)

    def order(self) -> range:
        """As they come."""
        return range(len(self))

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """`encodings`, `(batch, hidden_size)`."""
        return {ENCODINGS: self.dataset[list(rows)][ENCODINGS]}

    def digest(self) -> str:
        """Of the numbers."""
        sha = hashlib.sha256()
        for part in self.dataset.iter(1_024):
            sha.update(part[ENCODINGS].numpy().data)
        return sha.hexdigest()

    def positions_mask(self, rows: Sequence[int], batch: dict[str, Tensor], shape: torch.Size) -> Tensor:
        """All."""
        return torch.ones(shape, dtype=torch.bool)


def inputs_of(dataset: "Dataset", processor: Processor, text: str = "text", positions: Positions = "all") -> Inputs:
    """A data set's rows for the model that a processor belongs to.

    Args:
        dataset: rows with an image or its `encodings`, or with `input_ids` or a text.
        processor: the model's tokenizer, or image processor, or both in one, of which the latter is used.
        text: the text column, used where there are no `input_ids`.
        positions: those that count: `"all"`; in texts, the tokens in the `spans` of each, `"topic"`; in images, the
            `"class_token"`.

    Raises:
        ValueError: if the data set is empty or has no such column, or there are no such positions.
    """
    check_positions(positions)
    dataset = as_rows(dataset)
    if ENCODINGS in dataset.column_names:
        return Encodings(dataset)
    if images := image_processor_of(processor):
        if positions == "topic":
            raise ValueError('positions="topic" is for words in texts; of an image, count "all" or the "class_token".')
        return Images(dataset, images, positions == "class_token")
    if positions == "class_token":
        raise ValueError('positions="class_token" is for images; of a text, count "all" or those of the "topic".')
    tokenizer = tokenizer_of(processor)
    if positions == "topic":
        rows = dataset.with_format(None)
        topical, masks = token_masks(tokenizer, rows["text"], rows["spans"])
        return Texts(topical, tokenizer, masks, cut_topics(rows, tokenizer, topical))
    ids = tokenize(dataset, tokenizer, text)
    own = {"text", "spans"} <= {*dataset.column_names} and "input_ids" not in dataset.column_names and text == "text"
    return Texts(ids, tokenizer, cut=cut_topics(dataset.with_format(None), tokenizer, ids) if own else ())


def shuffled_inputs(
    dataset: "Dataset | IterableDataset", processor: Processor, text: str, max_tokens: int, seed: int
) -> "Inputs | StreamedInputs":
    """Rows in random order, enough of them for so many tokens; the rest as `inputs_of`.

    Of a stream they are the first rows, in its own order.
    """
    from excise.data.columns import with_texts

    dataset = as_rows(dataset)
    if is_stream(dataset):
        if image_processor_of(processor):
            return StreamedInputs(dataset, processor, text)
        input_ids: list[Sequence[int]] = []
        for window in stream_windows(dataset, min(WINDOW, max_tokens)):
            if len(window := with_texts(window, text, required=False)):
                input_ids += tokenize(window, tokenizer_of(processor), text)
            if sum(map(len, input_ids)) >= max_tokens:
                break
        if not input_ids:
            raise ValueError("The stream is empty; give one with at least one row.")
        inputs: Inputs = Texts(input_ids, tokenizer_of(processor))
    else:
        shuffled = dataset.shuffle(seed=seed)
        # Every row has a token at least: so many rows are enough, and a large data set need not be tokenised whole.
        chosen = shuffled.select(range(min(len(shuffled), max_tokens)))
        inputs = inputs_of(chosen if image_processor_of(processor) else with_texts(chosen, text), processor, text)
    if isinstance(inputs, Texts):
        total = rows = 0
        while rows < len(inputs) and total < max_tokens:
            total += len(inputs.input_ids[rows])
            rows += 1
        inputs = Texts(inputs.input_ids[:rows], inputs.tokenizer)
    return inputs


class StreamedInputs:
    """Rows of a stream that a model can be run on, batch by batch, and that are never all in memory."""

    def __init__(self, stream: "IterableDataset", processor: Processor, text: str = "text"):
        self.stream, self.processor, self.text = stream, processor, text

    def digest(self) -> str:
        """Nothing, as they were not read yet."""
        return ""

    def batches(self, batch_size: int, progress: str | None = None) -> Iterator[tuple[Sequence[int], dict]]:
        """As those of `Inputs`, in the order of the stream; rows are numbered within what was read together."""
        make = partial(inputs_of, processor=self.processor, text=self.text)
        for batch in RowBatches([self.stream], make, batch_size, progress):
            (tensors,) = batch.tensors()
            yield batch.rows, tensors


def image_processor_of(processor: Processor) -> BaseImageProcessor | None:
    """The image processor that a processor is or has; `None` for a tokenizer."""
    return processor if isinstance(processor, BaseImageProcessor) else getattr(processor, "image_processor", None)


def tokenizer_of(processor: Processor) -> PreTrainedTokenizerBase:
    """The tokenizer that a processor is or has.

    Raises:
        ValueError: if it has none.
    """
    ARGUMENTS["processor"].check(processor, "processor")
    if not isinstance(processor, BaseImageProcessor | ProcessorMixin):
        return processor
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise ValueError(f"{type(processor).__name__} has no tokenizer; give a processor that has, or the tokenizer.")
    return tokenizer
