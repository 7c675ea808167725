"""Scores: what they are called, how they are written, on which sets and under which conditions they are measured."""

from enum import Enum
from typing import Any, NamedTuple

# The sets that are scored, with the topic and without.
FORGET, RETAIN = "heldout", "heldout_retain"
# The first of these that an evaluation has tells of the set.
TELLING = {FORGET: ("accuracy", "recall", "bleu", "chrf"), RETAIN: ("accuracy", "bleu", "chrf")}


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
        RANDOM: as many random live codes masked in place of the selected ones.
        REFERENCE: another model, which never saw the topic.
    """

    BEFORE = "before"
    CUT = "word cut out"
    AFTER = "after"
    RANDOM = "random codes"
    REFERENCE = "reference model"

    # As a plain string in every Python: those before 3.11 and from 3.12 on format members of an enum otherwise.
    __str__ = str.__str__
    __format__ = str.__format__
    __repr__ = str.__repr__


# Those that do not depend on which codes are removed.
FIXED = (Condition.BEFORE, Condition.CUT, Condition.REFERENCE)
