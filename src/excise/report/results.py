"""Evaluation: scores and outputs before and after forgetting, and under the controls."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from excise.report.measures import (
    BOUNDED,
    FIXED,
    FORGET,
    RETAIN,
    TELLING,
    Condition,
    Kind,
    Score,
    is_measure,
    measure,
    normalized_drop,
    share_left_of,
)
from excise.report.notes import notes, nothing_to_forget, score_table
from excise.storage.display import HtmlTable, few, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked_fields, read

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Evaluation(HtmlTable):
    """How well a topic's sentences and others come out, or a class's images and others are told, under each condition.

    Conditions are `"before"` (masks lifted), `"word cut out"` (masks lifted, and the topic's word not in the sentence:
    what is then still said of it is guessed), `"after"`, `"bottleneck left out"` (what the plain class of the same
    weights puts out), `"random codes"` (as many live codes masked in place of the selected ones, as often used in other
    examples), `"topic-matched random codes"` (as often used in the topic's own), `"base model"` (the plain one that the
    bottleneck was put into) and `"reference model"` (one that never saw the topic). Each is a `Condition`. Sets are
    `"heldout"` (D'_T) and `"heldout_retain"` (D_R).

    Attributes:
        topic: the topic in words, or the name of the class.
        words: its words in the language of the references, which topic recall looks for.
        removed: number of removed codes.
        scores: `scores[condition][set][metric]`.
        outputs: `outputs[condition][set]`, generated texts or the names of predicted classes.
        texts: `texts[set]`, what they were generated from; of images, their number in the set.
        references: `references[set]`, what they should be.
        settings: seed and decoding; `controls`, how often the removed and the random codes fire, each once an example,
            in the topic's target and its retain set; `not_measured`, by condition why.
    """

    topic: str
    words: tuple[str, ...]
    removed: int
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]]
    outputs: Mapping[str, Mapping[str, list[str]]]
    texts: Mapping[str, list[str]]
    references: Mapping[str, list[str]]
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        name = self.telling(FORGET)
        scores = [f"{self.score(name, FORGET, condition).text} {condition}" for condition in self.conditions if name]
        about = f"; {measure(name).label} {few(scores, 8)}" if name else ""
        about += "; nothing to forget" if self.nothing_to_forget else ""
        requests = (self.settings.get("controls") or {}).get("requests", 1)
        by = f" by {requests} requests" if requests > 1 else ""
        return f"Evaluation: {shortened(self.topic)!r}, {self.removed:,} codes removed{by}{about}"

    @property
    def kind(self) -> Kind:
        """What the model put out: `"classes"` of images, `"answers"` to questions, or `"texts"`."""
        names = {name for sets in self.scores.values() for name in sets.get(FORGET, ())}
        return "classes" if "accuracy" in names else "answers" if "probability" in names else "texts"

    @property
    def of_classes(self) -> bool:
        """Whether images were classified, which are scored by accuracy."""
        return self.kind == "classes"

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that were evaluated, in their order."""
        return tuple(self.scores)

    def measures(self, dataset: str) -> list[str]:
        """The names of a set's measures, in the order in which they were computed; signatures and counts are none."""
        every = (item for sets in self.scores.values() for item in sets.get(dataset, {}).items())
        return list(dict.fromkeys(name for name, value in every if is_measure(name, value)))

    def telling(self, dataset: str) -> str | None:
        """The measure that tells best of a set how much is left; `None` if no such measure was computed."""
        sets = [sets.get(dataset, {}) for sets in self.scores.values()]
        return next((name for name in TELLING[dataset] if sets and all(name in scores for scores in sets)), None)

    def score(self, metric: str, dataset: str, condition: str) -> Score:
        """A score as it is written, with the bounds of its interval where it has one."""
        scores = self.scores.get(condition, {}).get(dataset, {})
        bounded = metric in BOUNDED
        value, low, high = (_number(scores.get(name)) for name in (metric, "low", "high"))
        if value is None or not bounded:
            low = high = None
        return Score(value, low, high, "–" if value is None else f"{value:.{measure(metric).decimals}f}")

    def share_left(
        self, dataset: str, condition: str = Condition.AFTER, metric: str | None = None, of: float = 1.0
    ) -> float:
        """What is left of a score, as a share of the one before.

        A score below 0, such as BARTScore, is set against its size: at -5 after -4, 0.75 is left.

        Args:
            dataset: `"heldout"` or `"heldout_retain"`.
            condition: whose score.
            metric: which score; the set's `telling` one if not given.
            of: what the whole is: 1, or 100 for percent.

        Returns:
            The share; not a number where the score before is 0, or one of the two was not computed.
        """
        now, before = (self._value(metric or self.telling(dataset), dataset, c) for c in (condition, Condition.BEFORE))
        return of * share_left_of(now, before)

    def bottleneck_cost(self, dataset: str = RETAIN, metric: str | None = None, of: float = 1.0) -> float:
        """What the bottleneck itself costs: the share of the base model's score that is gone before; below 0, a gain.

        Args:
            dataset: `"heldout"` or `"heldout_retain"`.
            metric: which score; the set's `telling` one if not given.
            of: what the whole is: 1, or 100 for percent.

        Returns:
            The share; not a number where there is no base model, or as `share_left`.
        """
        before, base = (
            self._value(metric or self.telling(dataset), dataset, c) for c in (Condition.BEFORE, Condition.BASE)
        )
        return of * (1 - share_left_of(before, base))

    @property
    def nothing_to_forget(self) -> str | None:
        """Why there was nothing to forget, in a sentence; `None` where there was something. See `report.notes`."""
        return nothing_to_forget(self)

    @property
    def notes(self) -> list[str]:
        """What stands below the table: nothing to forget, the bottleneck's cost, how well controls match."""
        return notes(self)

    def change(self, metric: str, dataset: str, condition: str = Condition.AFTER) -> float:
        """How far a score is from the one before, in percent of that; below 0 is a loss. Else as `share_left`."""
        return 100 * (self.share_left(dataset, condition, metric) - 1)

    def relative_drop(self, metric: str = "bleu", dataset: str = RETAIN, condition: str = Condition.AFTER) -> float:
        """The share of a score before that is gone; not a number where that is 0.

        Raises:
            ValueError: if one of the two was not computed.
        """
        self._check(metric, dataset, (Condition.BEFORE, condition))
        return 1 - self.share_left(dataset, condition, metric)

    def normalized_drop(
        self,
        metric: str = "bleu",
        dataset: str = FORGET,
        condition: str = Condition.AFTER,
        reference: str = Condition.REFERENCE,
    ) -> float:
        """A drop in units of what the model knows and the reference model does not (CodeUnlearn, section 3.7).

        0 is the model before, 1 the reference model; or another condition, such as `"word cut out"`.

        Raises:
            ValueError: if one of the three was not computed, or the two models score the same.
        """
        self._check(metric, dataset, (condition, reference, Condition.BEFORE))
        score, zero_shot, codebook = (self._value(metric, dataset, c) for c in (condition, reference, Condition.BEFORE))
        return float(normalized_drop(score, zero_shot, codebook))

    def drop(self, metric: str, dataset: str, condition: str = Condition.AFTER) -> float:
        """`normalized_drop` in percent; not a number where it is not defined."""
        values = [self._value(metric, dataset, c) for c in (condition, Condition.BEFORE, Condition.REFERENCE)]
        if not all(map(isfinite, values)) or values[1] == values[2]:
            return nan
        return 100 * self.normalized_drop(metric, dataset, condition)

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

    def _value(self, metric: str | None, dataset: str, condition: str) -> float:
        """A score; not a number where it was not computed."""
        value = self.scores.get(condition, {}).get(dataset, {}).get(metric or "")
        return nan if value is None else value

    def _check(self, metric: str, dataset: str, conditions: tuple[str, ...]) -> None:
        for condition in conditions:
            if metric not in self.scores.get(condition, {}).get(dataset, {}):
                raise ValueError(
                    f"There is no {metric!r} of {dataset!r} {condition!r}; conditions evaluated: {list(self.scores)}, "
                    f"scores: {list(next(iter(self.scores.values()), {}).get(dataset, {}))}."
                )

    def __str__(self) -> str:
        return score_table(self)

    def rows(self) -> list[dict[str, Any]]:
        """The scores by condition, set and measure, with `change` and `drop` in percent."""
        return [
            {
                "codes": 0 if condition in FIXED else self.removed,
                "condition": condition,
                "set": dataset,
                "examples": len(self.texts[dataset]),
                "metric": metric,
                "score": self._value(metric, dataset, condition),
                "change": self.change(metric, dataset, condition),
                "drop": self.drop(metric, dataset, condition),
            }
            for condition in self.conditions
            for dataset in (FORGET, RETAIN)
            for metric in self.measures(dataset)
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per condition, set and measure.

        `change` is in percent of the score before, `drop` is the normalised one (0 at the model before, 100 at the
        reference model).
        """
        import pandas

        return pandas.DataFrame([{"topic": self.topic} | row for row in self.rows()])

    def _notebook_rows(self) -> "pandas.DataFrame":
        import pandas

        columns = {
            (label, measure(metric).label): [self.score(metric, dataset, c).text for c in self.conditions]
            for dataset, label in {FORGET: "with the topic", RETAIN: "without"}.items()
            for metric in self.measures(dataset)
        }
        return pandas.DataFrame({("", "condition"): list(self.conditions)} | columns)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)

    @by_main_process("path")
    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to a JSON file."""
        with new_file(path) as partial:
            partial.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "Evaluation":
        """What `to_dict` gave, or what a record holds."""
        return cls(**{**checked_fields(state, cls), "words": tuple(state["words"])})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Evaluation":
        """What `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        try:
            return cls.from_dict(read(path))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} is no saved evaluation: {error}") from error


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and isfinite(value) else None
