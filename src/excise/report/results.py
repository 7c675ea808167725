"""The scores and outputs of an evaluation, as a table that prints and a record that is kept."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from excise.report.measures import Condition, is_measure
from excise.report.normalized import normalized_drop
from excise.storage.files import new_file


@dataclass(frozen=True)
class Evaluation:
    """How well a topic's sentences and others come out, or a class's images and others are told, under each condition.

    Conditions are `"before"` (masks lifted), `"word cut out"` (masks lifted, and the topic's word not in the sentence:
    what is then still said of it is guessed), `"after"`, `"random codes"` (as many live codes of like frequency masked
    in place of the selected ones) and `"reference model"` (one that never saw the topic). Sets are `"heldout"`
    (D'_T) and `"heldout_retain"` (D_R).

    Attributes:
        topic: the topic in words, or the name of the class.
        words: its words in the language of the references, which topic recall looks for.
        removed: number of removed codes.
        scores: `scores[condition][set][metric]`.
        outputs: `outputs[condition][set]`, generated texts or the names of predicted classes.
        texts: `texts[set]`, what they were generated from; of images, their number in the set.
        references: `references[set]`, what they should be.
        settings: seed and decoding.
    """

    topic: str
    words: tuple[str, ...]
    removed: int
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]]
    outputs: Mapping[str, Mapping[str, list[str]]]
    texts: Mapping[str, list[str]]
    references: Mapping[str, list[str]]
    settings: Mapping[str, Any]

    @property
    def of_classes(self) -> bool:
        """Whether images were classified, which are scored by accuracy, rather than texts generated."""
        return any("accuracy" in sets.get("heldout", {}) for sets in self.scores.values())

    def relative_drop(
        self, metric: str = "bleu", dataset: str = "heldout_retain", condition: str = Condition.AFTER
    ) -> float:
        """The share of a score before that is gone: (before - after) / |before|."""
        before, after = (self._score(c, dataset, metric) for c in (Condition.BEFORE, condition))
        return (before - after) / abs(before) if before else float("nan")

    def normalized_drop(
        self,
        metric: str = "bleu",
        dataset: str = "heldout",
        condition: str = Condition.AFTER,
        reference: str = Condition.REFERENCE,
    ) -> float:
        """A drop in units of what the model knows and the reference model does not (CodeUnlearn, section 3.7).

        0 is the model before, 1 the reference model; or another condition, such as `"word cut out"`.
        """
        return float(
            normalized_drop(
                self._score(condition, dataset, metric),
                zero_shot=self._score(reference, dataset, metric),
                codebook=self._score(Condition.BEFORE, dataset, metric),
            )
        )

    def examples(self, count: int = 5, dataset: str = "heldout") -> list[dict[str, str]]:
        """Sentences whose output changed, in the order of the set: text, reference, before and after.

        Raises:
            ValueError: if there is no model before to compare with, as codes were deleted.
        """
        if Condition.BEFORE not in self.outputs:
            raise ValueError(
                f"Codes were deleted, so there is nothing {Condition.BEFORE!r} to compare with; `outputs` has "
                f"{list(self.outputs)}. For examples, evaluate while the codes are masked."
            )
        rows = zip(
            self.texts[dataset],
            self.references[dataset],
            self.outputs[Condition.BEFORE][dataset],
            self.outputs[Condition.AFTER][dataset],
            strict=True,
        )
        names = ("text", "reference", Condition.BEFORE, Condition.AFTER)
        return [dict(zip(names, row, strict=True)) for row in rows if row[2] != row[3]][:count]

    def _score(self, condition: str, dataset: str, metric: str) -> float:
        try:
            return self.scores[condition][dataset][metric]
        except KeyError:
            raise ValueError(
                f"There is no {metric!r} of {dataset!r} {condition!r}; conditions evaluated: {list(self.scores)}, "
                f"scores: {list(next(iter(self.scores.values()), {}).get(dataset, {}))}."
            ) from None

    def __str__(self) -> str:
        return self._class_table() if self.of_classes else self._text_table()

    def _class_table(self) -> str:
        lines = [
            f"Class {self.topic!r}: {self.removed} codes removed. {len(self.texts['heldout'])} held-out images of the "
            f"class, {len(self.texts['heldout_retain'])} of others. Accuracy (95 %):",
            f"{'':16} | {'of the class':<20} | {'of others':<20}",
        ]
        for condition, sets in self.scores.items():
            cells = [
                f"{found['accuracy']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
                for found in (sets["heldout"], sets["heldout_retain"])
            ]
            lines.append(f"{condition:16} | {' | '.join(cells)}")
        return "\n".join(lines)

    def _text_table(self) -> str:
        sizes = {name: len(texts) for name, texts in self.texts.items()}
        lines = [
            f"Topic {self.topic!r}: {self.removed} codes removed. "
            f"{sizes['heldout']} held-out sentences with the topic, {sizes['heldout_retain']} without.",
            f"{'':16} | {'with the topic':^52} | {'without':^13}",
            f"{'':16} | {'BLEU':>6} {'chrF':>6} {'rest BLEU':>9}   {'topic recall (95 %)':<26} | "
            f"{'BLEU':>6} {'chrF':>6}",
        ]
        for condition, sets in self.scores.items():
            topic, retain = sets["heldout"], sets["heldout_retain"]
            recall = "-"
            if "recall" in topic:
                recall = f"{topic['recall']:.3f} [{topic['low']:.3f}, {topic['high']:.3f}] of {topic['total']}"
            lines.append(
                f"{condition:16} | {topic['bleu']:6.1f} {topic['chrf']:6.1f} {topic['rest_bleu']:9.1f}   {recall:<26} "
                f"| {retain['bleu']:6.1f} {retain['chrf']:6.1f}"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)

    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to a JSON file."""
        with new_file(path) as partial:
            partial.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Evaluation":
        """What `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**state | {"words": tuple(state["words"])})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)!r} is no saved evaluation: {error!r}.") from error


# The names of the sets in the paper.
SET_LABELS = {"heldout": "D'_T", "heldout_retain": "D_R"}


def measures(evaluation: Evaluation, dataset: str) -> list[str]:
    """The names of a set's measures, in the order in which they were computed; signatures and counts are none."""
    scores = next(iter(evaluation.scores.values()))[dataset]
    return [name for name, value in scores.items() if is_measure(name, value)]


def change(evaluation: Evaluation, metric: str, dataset: str, condition: str) -> float:
    """How far a score is from the one before, in percent of that; below 0 is a loss of quality.

    Scores that are negative, such as BARTScore, are set against their size. Not a number where there is no score
    before, or it is 0.
    """
    before = evaluation.scores.get(Condition.BEFORE, {}).get(dataset, {}).get(metric)
    if not before:
        return float("nan")
    return 100 * (evaluation.scores[condition][dataset][metric] - before) / abs(before)


def drop(evaluation: Evaluation, metric: str, dataset: str, condition: str) -> float:
    """The normalised improvement drop in percent: 0 at the model before, 100 at the reference model.

    Not a number where one of the two was not evaluated, or both score the same.

    Source: *CodeUnlearn*, section 3.7; table 2 prints it with a minus sign.
    """
    score, before, reference = (
        evaluation.scores.get(c, {}).get(dataset, {}).get(metric)
        for c in (condition, Condition.BEFORE, Condition.REFERENCE)
    )
    if before is None or reference is None or before == reference:
        return float("nan")
    return 100 * float(normalized_drop(score, zero_shot=reference, codebook=before))
