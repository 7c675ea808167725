"""Attack sets: what an attack is run on, and the measure by which it is judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from excise.data.classes import ClassSets
from excise.data.inputs import ENCODINGS, Processor, inputs_of, tokenizer_of
from excise.data.topics import TopicSets, topic_words
from excise.data.truncation import cut_before, tell_cut_before, tokenized
from excise.evaluation.classes import TEMPLATES, as_encodings, predict_classes
from excise.evaluation.metrics import Bleu
from excise.evaluation.metrics.words import phrases, spans
from excise.evaluation.texts import generate_texts, without_spans
from excise.storage.expected import described


@dataclass(frozen=True)
class AttackSets:
    """A topic or class as attacks see it: its held-out rows decide, its target is what an attacker has.

    Attributes:
        topic: the sets. Attackers learn from `target`, and are judged on `heldout`; `heldout_retain` tells whether the
            model still does its work.
        processor: of all models that are compared.
        words: the topic's words in the language of the references; found on target and retain if not given. What counts
            is a word of a held-out reference that comes out. Of a class, an image that is taken for it.
        seed: of all draws.
        max_new_tokens: length at which a text is cut off.
        batch_size: rows a batch.
        templates: of a CLIP, what names of classes are put into.
    """

    topic: TopicSets | ClassSets
    processor: Processor
    words: tuple[str, ...] = ()
    seed: int = 0
    max_new_tokens: int = 48
    batch_size: int = 64
    templates: Sequence[str] = TEMPLATES

    def __post_init__(self) -> None:
        if isinstance(self.topic, ClassSets):
            return
        if not isinstance(self.topic, TopicSets) or self.topic.reference is None:
            raise ValueError(
                f"The topic is {described(self.topic)}; expected sets of `class_sets`, or of `topic_sets` with a "
                "`reference` column, on which attacks are judged. Of questions there are `AskedSets`."
            )
        object.__setattr__(self, "words", tuple(self.words or topic_words(self.topic)))
        if not self.words:
            raise ValueError(f"No word of the references goes with {self.topic.name!r} for sure. Give `words` by hand.")
        if not self.cases:
            raise ValueError(f"No held-out reference holds any of {list(self.words)}: there is nothing to bring back.")

    @property
    def of_texts(self) -> bool:
        """Whether texts are generated, rather than images told."""
        return isinstance(self.topic, TopicSets)

    @property
    def of_questions(self) -> bool:
        """Whether a decoder is asked questions: these have sets of their own, `AskedSets`."""
        return False

    @property
    def data(self) -> dict[str, str]:
        """Digests of the topic's sets."""
        return self.topic.digest()

    def about(self) -> dict[str, Any]:
        """What decides an attack's result besides models and settings, as JSON values."""
        return {
            "data": self.data,
            "words": list(self.words),
            "seed": self.seed,
            "max_new_tokens": self.max_new_tokens,
            "templates": [] if self.of_texts else list(self.templates),
            "cases": len(self.cases),
        }

    def keep(self, *models: PreTrainedModel | None) -> None:
        """Told of models that stay as they are while attacks run; sets that are costly to run remember their hits."""

    @property
    def measure(self) -> str:
        """The measure of what comes back: `"recall"` or `"accuracy"`, or of questions `"probability"`."""
        return "recall" if self.of_texts else "accuracy"

    @cached_property
    def cases(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """What can come back: the row of `heldout`, and the word that its reference holds (of a class, its name)."""
        if not isinstance(self.topic, TopicSets):
            return tuple((row, (self.topic.name,)) for row in range(len(self.topic.heldout)))
        wanted = phrases(self.words)
        references = self.topic.heldout["reference"]
        cut = self._cut
        return tuple(
            (row, word) for row, text in enumerate(references) if not cut[row] for word in sorted(spans(text, wanted))
        )

    @cached_property
    def _cut(self) -> list[bool]:
        """Which held-out sentences are cut off before the topic's word: nothing of it can come back there."""
        heldout, tokenizer = self.topic.heldout, tokenizer_of(self.processor)
        if "spans" not in heldout.column_names:
            return [False] * len(heldout)
        cut = cut_before(tokenizer, heldout["text"], heldout["spans"])
        tell_cut_before(sum(cut), len(cut), tokenizer, "held-out sentences")
        return cut

    @cached_property
    def _rows(self) -> list[int]:
        return sorted({row for row, _ in self.cases})

    def hits(self, model: PreTrainedModel, cut: bool = False) -> np.ndarray:
        """Which cases a model gets right, bool `(cases,)`: the word comes out, or the image is taken for its class.

        Args:
            model: any model that the processor goes with; left as it was.
            cut: translate the sentences with the topic's word cut out: what still comes out is guessed. Of texts only.
        """
        if isinstance(self.topic, TopicSets):
            rows = self.topic.heldout.select(self._rows)
            texts = (
                [without_spans(*row) for row in zip(rows["text"], rows["spans"], strict=True)] if cut else rows["text"]
            )
            said = dict(zip(self._rows, self.outputs(model, texts), strict=True))
            wanted = phrases(self.words)
            return np.array([word in spans(said[row], wanted) for row, word in self.cases])
        found = predict_classes(
            model,
            self.processor,
            self.topic.heldout,
            self.topic.classes,
            templates=self.templates,
            batch_size=self.batch_size,
        )
        return np.array([name == self.topic.classes[self.topic.label] for name in found])

    def outputs(self, model: PreTrainedModel, texts: Sequence[str]) -> list[str]:
        """What a model generates for texts, greedily."""
        tokenizer = tokenizer_of(self.processor)
        options: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "batch_size": self.batch_size}
        return generate_texts(model, tokenizer, list(texts), **options)

    def quality(self, model: PreTrainedModel, most: int = 200) -> float:
        """BLEU, or accuracy, on the first rows without the topic."""
        rows = self.topic.heldout_retain.select(range(min(most, len(self.topic.heldout_retain))))
        if isinstance(self.topic, TopicSets):
            predictions = self.outputs(model, rows["text"])
            return Bleu().compute(predictions=predictions, references=list(rows["reference"]))["bleu"]
        options: dict[str, Any] = {"templates": self.templates, "batch_size": self.batch_size}
        found = predict_classes(model, self.processor, rows, self.topic.classes, **options)
        return float(
            np.mean([self.topic.classes[label] == name for label, name in zip(rows["label"], found, strict=True)])
        )

    def draw(self, count: int, seed: int, rows: Dataset | None = None) -> Dataset:
        """So many rows that an attacker has, of the topic's target, or of others that are given.

        Raises:
            ValueError: if there are fewer.
        """
        rows = self.topic.target if rows is None else rows
        if count > len(rows):
            raise ValueError(f"An attack with {count} examples needs as many; there are {len(rows)}.")
        chosen = np.random.default_rng((self.seed, seed)).permutation(len(rows))[:count]
        return rows.select(sorted(chosen.tolist()))

    def training_batch(self, rows: Dataset, device: torch.device) -> dict[str, Tensor]:
        """Rows as a model is trained on them: inputs, and `labels`, of texts -100 at padding."""
        if isinstance(self.topic, TopicSets):
            tokenizer = tokenizer_of(self.processor)
            options: dict[str, Any] = {"padding": True, "return_tensors": "pt", "counted": False}
            batch = dict(tokenized(tokenizer, rows["text"], targets=rows["reference"], **options))
            batch["labels"] = batch["labels"].masked_fill(batch["labels"] == tokenizer.pad_token_id, -100)
        else:
            batch = inputs_of(rows, self.processor).batch(range(len(rows)))
            batch["labels"] = torch.tensor(rows["label"])
        return {name: tensor.to(device) for name, tensor in batch.items()}

    def with_encodings(self, model: PreTrainedModel, most: int = 200) -> "AttackSets":
        """Sets of which a frozen encoder has run once over all images that attacks use; as they are for other models.

        Args:
            model: one with a frozen encoder, or any other.
            most: images without the class to keep, as many as `quality` is measured on.
        """
        topic = self.topic
        if not isinstance(topic, ClassSets) or not hasattr(model, "encode"):
            return self

        def encoded(rows: Dataset) -> Dataset:
            if ENCODINGS in rows.column_names:
                return rows
            of_rows = as_encodings(model, self.processor, rows, self.batch_size)
            return Dataset.from_dict({ENCODINGS: of_rows[ENCODINGS][:], "label": rows["label"][:]})

        others = topic.heldout_retain.select(range(min(most, len(topic.heldout_retain))))
        parts = {"target": topic.target, "heldout": topic.heldout, "heldout_retain": others}
        return replace(self, topic=replace(topic, **{name: encoded(rows) for name, rows in parts.items()}))

    def first(self, most: int) -> "AttackSets":
        """Sets whose held-out rows are those of so many cases, all in one batch, for looking at a model often.

        Texts are cut off a few tokens behind the longest reference: a model that was broken goes on to the end.
        """
        rows = sorted({row for row, _ in self.cases[:most]})
        heldout, length = self.topic.heldout.select(rows), self.max_new_tokens
        if self.of_texts:
            references = tokenizer_of(self.processor)(text_target=list(heldout["reference"]))["input_ids"]
            length = min(length, max(map(len, references)) + 4)
        changed = replace(self.topic, heldout=heldout)
        return replace(self, topic=changed, batch_size=len(rows), max_new_tokens=length)

    def check_same_words(self, *models: PreTrainedModel | None) -> None:
        """Makes sure that models read texts by one vocabulary.

        Raises:
            ValueError: if one has another number of embeddings.
        """
        sizes = [getattr(of.config.get_text_config(), "vocab_size", None) for of in models if of is not None]
        if self.of_texts and len(set(sizes)) > 1:
            raise ValueError(
                f"The models that are compared have vocabularies of {sizes} embeddings; they must read texts alike. "
                "Give models of one tokenizer."
            )
