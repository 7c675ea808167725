"""Measures: the names of scores, sets and conditions, and normalised drops."""

from collections.abc import Mapping, Sequence
from enum import Enum
from math import nan
from typing import Any, Literal, NamedTuple

import numpy as np

# The sets that are scored, with the topic and without.
FORGET, RETAIN = "heldout", "heldout_retain"
# The first of these that an evaluation has tells of the set.
TELLING = {
    FORGET: ("accuracy", "recall", "probability", "bleu", "chrf"),
    RETAIN: ("accuracy", "probability", "bleu", "chrf"),
}
# Those that have an interval, in the order in which a verdict looks for them.
BOUNDED = ("accuracy", "recall", "probability")

# The names of the sets in the papers, and what they are in words, by what a model puts out.
SET_LABELS = {FORGET: "D'_T", RETAIN: "D_R"}
Kind = Literal["texts", "answers", "classes"]
SETS_IN_WORDS: Mapping[Kind, Mapping[str, str]] = {
    "texts": {FORGET: "sentences with the topic", RETAIN: "other sentences"},
    "answers": {FORGET: "questions to forget", RETAIN: "other questions"},
    "classes": {FORGET: "images of the class", RETAIN: "images of other classes"},
}


def takes(model: Mapping[str, Any]) -> str:
    """What a record's model takes: `"token"`, `"image"`, or `"token or image"` where that is not known.

    Args:
        model: of a record's state.

    Example:
        >>> takes({"task": "image-classification"})
        'image'
    """
    task = model.get("task") or ""
    return "token" if task.startswith("text") else "image" if "image" in task else "token or image"


class Measure(NamedTuple):
    """How a score is written.

    Attributes:
        label: its name in tables and figures.
        decimals: digits after the point.
    """

    label: str
    decimals: int


KNOWN = {
    "bleu": Measure("BLEU", 1),
    "chrf": Measure("chrF", 1),
    "rest_bleu": Measure("rest BLEU", 1),
    "recall": Measure("topic recall", 3),
    "mentions": Measure("mentions", 3),
    "accuracy": Measure("accuracy", 3),
    "probability": Measure("answer probability", 3),
    "rouge_l": Measure("ROUGE-L recall", 3),
    "meteor": Measure("METEOR", 3),
    "bert_score_precision": Measure("BERTScore P", 3),
    "bert_score_recall": Measure("BERTScore R", 3),
    "bert_score_f1": Measure("BERTScore F1", 3),
    "bart_score": Measure("BARTScore", 2),
}
# What stands beside topic recall and accuracy: counts and the bounds of its interval.
NO_MEASURES = {"hits", "total", "low", "high"}


def measure(name: str) -> Measure:
    """How a score is written; one that excise does not know goes by its own name.

    Example:
        >>> measure("bleu").label, measure("my_score").label
        ('BLEU', 'my_score')
    """
    return KNOWN.get(name, Measure(name, 3))


def is_measure(name: str, value: Any) -> bool:
    """Whether a number of an evaluation is a score; signatures, counts and bounds are none."""
    return name not in NO_MEASURES and isinstance(value, int | float) and not isinstance(value, bool)


class Score(NamedTuple):
    """A score of a set under a condition.

    Args:
        value: the score, or `None` where there is no number.
        low: lower bound of its 95 % interval, or `None` where it has none.
        high: the upper bound.
        text: as it is written.
    """

    value: float | None
    low: float | None
    high: float | None
    text: str


class Condition(str, Enum):
    """A condition under which a model is evaluated; its value is the key in every saved evaluation.

    Attributes:
        BEFORE: masks lifted.
        CUT: masks lifted, and the topic's word cut out of the sentence: what is still said of it is guessed.
        AFTER: masks in force.
        LEFT_OUT: the bottleneck left out: what the plain class of the same weights puts out.
        ERASED: masks in force, and the embedding rows erased that go when the mask becomes a deletion.
        ERASED_LEFT_OUT: the same rows erased, and the bottleneck left out.
        RANDOM: as many random live codes masked in place of the selected ones, as often used in other examples.
        RANDOM_TOPIC: the same, but as often used in the topic's own examples, or as near to it as there are any.
        BASE: the plain model that the bottleneck was built on: what the bottleneck itself costs.
        REFERENCE: another model, which never saw the topic.
    """

    BEFORE = "before"
    CUT = "word cut out"
    AFTER = "after"
    LEFT_OUT = "bottleneck left out"
    ERASED = "embedding rows erased too"
    ERASED_LEFT_OUT = "rows erased, bottleneck left out"
    RANDOM = "random codes"
    RANDOM_TOPIC = "topic-matched random codes"
    BASE = "base model"
    REFERENCE = "reference model"

    # As a plain string in every Python: those before 3.11 and from 3.12 on format members of an enum otherwise.
    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]  # an enum names its argument, a string does not
    __repr__ = str.__repr__


# Those that do not depend on which codes are removed.
FIXED = (
    Condition.BEFORE,
    Condition.CUT,
    Condition.LEFT_OUT,
    Condition.ERASED_LEFT_OUT,
    Condition.BASE,
    Condition.REFERENCE,
)


def share_left_of(now: float, whole: float) -> float:
    """What is left of a score, which may be below 0; not a number where there is nothing to be left."""
    if not whole:
        return nan
    return now / whole if whole > 0 else 2 - now / whole


Scores = int | float | np.number | np.ndarray | Sequence[float]


def normalized_drop(score: Scores, zero_shot: Scores, codebook: Scores) -> float | np.ndarray:
    """How much of the way from the codebook model down to the zero-shot model a score has fallen.

    0 at the codebook model, 1 at the zero-shot model, above 1 where it is worse than the zero-shot model, below 0 where
    it is better than the codebook model. It does not matter whether the metric grows or falls with quality. Any other
    model can stand in for the zero-shot one, for example one that never saw the topic.

    The paper's improvement is 1 minus this. Its tables print the drop in percent with a minus sign: -112.52 is 1.1252.

    Args:
        score: score after unlearning, a number or an array of any shape.
        zero_shot: score of the zero-shot model, on the same data.
        codebook: score of the codebook model before unlearning, on the same data.

    Returns:
        A fraction (not percent): a float for three numbers, otherwise an array of the broadcast shape.

    Raises:
        ValueError: a score is not finite, or the two models score the same, so that there is no scale.

    Example:
        >>> normalized_drop(25.0, zero_shot=10.0, codebook=30.0)
        0.25

    Source: *CodeUnlearn*, section 3.7 and table 2.
    """
    score, zero_shot, codebook = (
        _finite(name, value) for name, value in (("score", score), ("zero_shot", zero_shot), ("codebook", codebook))
    )
    if np.any(zero_shot == codebook):
        raise ValueError(
            f"zero_shot ({zero_shot}) and codebook ({codebook}) score the same: the scale from 0 (codebook) to 1 "
            "(zero-shot) is undefined. Compare the raw scores, or choose a reference model that scores differently."
        )
    fraction = (codebook - score) / (codebook - zero_shot)
    return fraction if fraction.ndim else float(fraction)


def _finite(name: str, value: Scores) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite: {array}. Scores must be finite numbers.")
    return array
