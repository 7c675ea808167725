"""Rows without a topic, to be taught on and to be compared on, and how a model takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from transformers import CLIPModel, DataCollatorForSeq2Seq, PreTrainedModel

from excise.data.batches import unpadded
from excise.data.classes import ClassSets
from excise.data.images import columns_of, pixel_values
from excise.data.inputs import Processor, image_processor_of, tokenizer_of
from excise.data.questions import PromptFormat, QuestionSets, answer_tokens
from excise.data.questions.question_rows import ANSWER, QUESTION
from excise.data.reading import is_stream
from excise.data.topics import TopicSets
from excise.data.topics.matching import Matcher
from excise.data.truncation import tokenized
from excise.models.class_order import places_in_model

# Held-out rows, if none are given: a tenth, but no more than so many; of a stream, whose length is not known, fewer.
MOST_HELDOUT, HELDOUT_OF_STREAM = 500, 200
CAPTION = "a photo of a {}"


class ImageRows(torch.utils.data.Dataset):
    """Images of a data set as tensors, made when they are asked for."""

    def __init__(self, dataset: Dataset, processor: Processor):
        self.dataset = dataset
        self.processor = image_processor_of(processor)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        """Rows together."""
        pixels = pixel_values(self.dataset, self.processor, rows)  # type: ignore[arg-type]  # `of` made sure
        labels = self.dataset.with_format(None)[rows]["label"]
        return [{"pixel_values": one, "label": label} for one, label in zip(pixels, labels, strict=True)]

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]


@dataclass(frozen=True)
class Retained:
    """Rows without a topic, those to train on and those to compare on, and how a model takes them.

    Attributes:
        train: what the `Trainer` trains on.
        heldout: the rows to compare on.
        processor: of the model.
        captions: of a CLIP, the text that goes with each class.
        matcher: finds the topic's words; `None` where no topic was given.
        label: the topic's class.
        outputs: of a classifier, the output that stands for each class.
        asked: of a decoder, how questions are put; `None` of other models.
        going: of a decoder, the questions with their answers that are not to be taught.
    """

    train: Any
    heldout: Any
    processor: Processor
    captions: tuple[str, ...] = ()
    matcher: Matcher | None = None
    label: int | None = None
    outputs: tuple[int, ...] = ()
    asked: PromptFormat | None = None
    going: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(
        cls,
        retain: Dataset | IterableDataset,
        heldout: Dataset | None,
        processor: Processor,
        model: PreTrainedModel,
        topic: TopicSets | ClassSets | QuestionSets | None,
    ) -> "Retained":
        """Rows, looked through for the topic where all are at hand; those of a stream are when they are read.

        Raises:
            ValueError: if there are none to train on or to compare on, or one holds the topic.
        """
        train: Any = retain
        if heldout is None and topic is not None and len(topic.heldout_retain):
            heldout = topic.heldout_retain
        if heldout is None and is_stream(retain):
            first: list[Any] = list(islice(iter(retain), HELDOUT_OF_STREAM))
            heldout, train = first, retain.skip(len(first))
        elif heldout is None:
            count = min(MOST_HELDOUT, -(-len(retain) // 10))
            heldout = retain.select(range(count))
            train = retain.select(list(range(count, len(retain))))
        for name, part in {"retain": train, "heldout": heldout}.items():
            if not is_stream(part) and len(part) == 0:
                raise ValueError(
                    f"There are no rows in `{name}`. Give at least two without the topic, of which one is held out."
                )
        captions: tuple[str, ...] = ()
        outputs: tuple[int, ...] = ()
        if not is_stream(train) and columns_of(train, "Image"):
            classes = tuple(topic.classes if isinstance(topic, ClassSets) else train.features["label"].names)
            for name, part in {"retain": train, "heldout": heldout}.items():
                if tuple(getattr(part.features.get("label"), "names", ())) != classes:
                    raise ValueError(
                        f"The classes of `{name}` are not those of the topic in the same order, which are "
                        f"{list(classes)[:20]}. Read it as the topic was, by `class_sets(..., classes=topic.classes)`."
                    )
            if isinstance(model, CLIPModel):
                captions = tuple(map(CAPTION.format, classes))
            heads = not captions and hasattr(model, "num_labels")
            outputs = tuple(places_in_model(model.config, classes) if heads else range(len(classes)))
            train, heldout = ImageRows(train, processor), ImageRows(heldout, processor)
        matcher = topic.matcher if isinstance(topic, TopicSets) else None
        label = topic.label if isinstance(topic, ClassSets) else None
        asked, going = None, frozenset[tuple[str, str]]()
        if isinstance(topic, QuestionSets):
            parts = topic.target, topic.heldout
            going = frozenset(pair for of in parts for pair in zip(of[QUESTION][:], of[ANSWER][:], strict=True))
        if is_decoder(model):
            asked = topic.form if isinstance(topic, QuestionSets) else PromptFormat()
        rows = cls(train, heldout, processor, captions, matcher, label, outputs, asked, going)
        for part in (train, heldout):
            if not is_stream(part):
                rows.check(part.dataset if isinstance(part, ImageRows) else part)
        return rows

    def check(self, rows: Any) -> None:
        """Refuses rows that hold the topic.

        Raises:
            ValueError: if one does.
        """
        columns = set(rows.column_names if isinstance(rows, Dataset) else rows[0])
        hits: list[int] = []
        if self.matcher is not None and "text" in columns:
            texts = rows["text"] if isinstance(rows, Dataset) else [row["text"] for row in rows]
            hits = [row for row, text in enumerate(texts) if self.matcher.touches(text)]
        elif self.label is not None and "label" in columns:
            labels = rows["label"] if isinstance(rows, Dataset) else [row["label"] for row in rows]
            hits = [row for row, label in enumerate(labels) if label == self.label]
        elif self.going and {QUESTION, ANSWER} <= columns:
            pairs = [(row[QUESTION], row[ANSWER]) for row in rows]
            hits = [row for row, pair in enumerate(pairs) if pair in self.going]
        if hits:
            raise ValueError(
                f"{len(hits):,} of {len(rows):,} rows to be kept are of the topic, the first of them row {hits[0]}: "
                "what is taught is what was deleted. Leave them out."
            )

    def batch(self, rows: Sequence[Any]) -> dict[str, Tensor]:
        """Rows as a model is trained on them."""
        self.check(rows)
        columns = set(rows[0])
        if "pixel_values" in columns:
            batch = {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}
            labels = [row["label"] for row in rows]
            if not self.captions:
                return batch | {"labels": torch.tensor([self.outputs[label] for label in labels])}
            texts = [self.captions[label] for label in labels]
            return batch | dict(tokenizer_of(self.processor)(texts, padding=True, return_tensors="pt"))
        tokenizer = tokenizer_of(self.processor)
        if self.asked is not None:
            return self._decoded(rows, columns)
        if {"text", "reference"} <= columns:
            texts, references = ([row[name] for row in rows] for name in ("text", "reference"))
            encoded: Any = tokenized(tokenizer, texts, targets=references, counted=False)
        elif {"input_ids", "labels"} <= columns:
            masks = _lists(rows, "attention_mask") if "attention_mask" in columns else None
            encoded = {"input_ids": unpadded(_lists(rows, "input_ids"), masks, tokenizer)}
            encoded["labels"] = unpadded(_lists(rows, "labels"), None, tokenizer)
        else:
            raise ValueError(
                f"Rows have the columns {sorted(columns)}; expected `text` and `reference`, `input_ids` and `labels`, "
                "or an image and its `label`."
            )
        batch = dict(tokenizer.pad({"input_ids": encoded["input_ids"]}, return_tensors="pt"))
        longest = max(map(len, encoded["labels"]))
        padded = [[*ids, *[-100] * (longest - len(ids))] for ids in encoded["labels"]]
        return batch | {"labels": torch.tensor(padded)}

    def _decoded(self, rows: Sequence[Any], columns: set[str]) -> dict[str, Tensor]:
        """Rows as a decoder is trained on them: questions with their answers in one text, padded right."""
        if {"input_ids", "labels"} <= columns:
            made = DataCollatorForSeq2Seq(tokenizer_of(self.processor))
            masks = _lists(rows, "attention_mask") if "attention_mask" in columns else None
            lists = [_lists(rows, name) for name in ("input_ids", "labels")]
            given = [dict(zip(("input_ids", "labels"), pair, strict=True)) for pair in zip(*lists, strict=True)]
            given = given if masks is None else [a | {"attention_mask": b} for a, b in zip(given, masks, strict=True)]
            return dict(made(given, return_tensors="pt"))
        if not {QUESTION, ANSWER} <= columns:
            raise ValueError(
                f"Rows have the columns {sorted(columns)}, and the model is a decoder: expected `question` and "
                "`answer`, as `question_rows` gives them, or `input_ids` and `labels`, as `question_inputs` does."
            )
        questions, answers = ([row[name] for row in rows] for name in (QUESTION, ANSWER))
        tokens = answer_tokens(tokenizer_of(self.processor), questions, answers, self.asked)
        return tokens.batch([row for row in range(len(rows)) if tokens.counts(row)])


def _lists(rows: Sequence[Any], column: str) -> list[list[int]]:
    return [torch.as_tensor(row[column]).tolist() for row in rows]


def inputs_for(batch: dict[str, Tensor], device: torch.device) -> dict[str, Any]:
    """A batch as a model takes it to give a loss."""
    wish = {} if "labels" in batch else {"return_loss": True}
    return {name: tensor.to(device) for name, tensor in batch.items()} | wish


def is_decoder(model: PreTrainedModel) -> bool:
    """Whether a model writes on from a text, with no encoder before it."""
    return model.can_generate() and not model.config.is_encoder_decoder


def items_of(batch: dict[str, Any]) -> int:
    """What a loss of a batch is a mean over: tokens of references or answers, or rows."""
    labels = batch.get("labels")
    return len(batch["pixel_values"]) if labels is None else int((labels != -100).sum())


def task_loss(outputs: Any) -> Tensor:
    """A model's loss without that of its bottlenecks."""
    own = outputs.get("task_loss")
    return outputs.loss if own is None else own


@torch.no_grad()
def heldout_loss(model: PreTrainedModel, rows: Retained, batch_size: int) -> float:
    """The mean task loss on held-out rows, in batches that are the same for every model."""
    total, count = 0.0, 0
    for start in range(0, len(rows.heldout), batch_size):
        numbers = range(start, min(start + batch_size, len(rows.heldout)))
        batch = rows.batch([rows.heldout[number] for number in numbers])
        items = items_of(batch)
        total += float(task_loss(model(**inputs_for(batch, model.device)))) * items
        count += items
    return total / max(count, 1)
