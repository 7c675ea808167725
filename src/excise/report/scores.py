"""The scores of evaluations, read from a record: which one tells of forgetting, which one of what it cost."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from excise.report.measures import Condition, is_measure, measure

# In the order in which they are shown, and what they are called.
CONDITIONS = {
    Condition.BEFORE: "Before",
    Condition.AFTER: "After",
    Condition.RANDOM: "As many random codes",
    Condition.CUT: "Word cut out of the text",
    Condition.REFERENCE: "A model that never saw it",
}
FORGET, RETAIN = "heldout", "heldout_retain"
# The first of these that an evaluation has tells of the set; whole scores of up to 1 or up to 100.
TELLING = {FORGET: ("accuracy", "recall", "bleu", "chrf"), RETAIN: ("accuracy", "bleu", "chrf")}
HIGHEST = {"accuracy": 1.0, "recall": 1.0, "bleu": 100.0, "chrf": 100.0}


class Score(NamedTuple):
    """A score of a set under a condition.

    Args:
        value: the score, or `None` where it is no number.
        low: lower bound of its 95 % interval, or `None` where it has none.
        high: the upper bound.
        text: as it is written.
    """

    value: float | None
    low: float | None
    high: float | None
    text: str


def of_classes(evaluation: Mapping[str, Any]) -> bool:
    """Whether images were classified rather than texts generated."""
    return any("accuracy" in sets[FORGET] for sets in evaluation["scores"].values())


def conditions(evaluation: Mapping[str, Any]) -> list[str]:
    """The conditions of an evaluation in the order in which they are shown."""
    return sorted(evaluation["scores"], key=lambda name: list(CONDITIONS).index(name) if name in CONDITIONS else 99)


def telling(evaluation: Mapping[str, Any], dataset: str) -> str | None:
    """The name of the score that is shown for a set; `None` if there is none of those known."""
    sets = [found[dataset] for found in evaluation["scores"].values()]
    return next((name for name in TELLING[dataset] if sets and all(name in found for found in sets)), None)


def score(evaluation: Mapping[str, Any], condition: str, dataset: str, name: str) -> Score:
    """One score, with the bounds that stand beside it if it is the one that they are of."""
    found = evaluation["scores"].get(condition, {}).get(dataset, {})
    value = found.get(name)
    bounded = name in ("accuracy", "recall") and value is not None
    low, high = (found.get(bound) if bounded else None for bound in ("low", "high"))
    return Score(value, low, high, "–" if value is None else f"{value:.{measure(name).decimals}f}")


def all_measures(evaluation: Mapping[str, Any], dataset: str) -> list[str]:
    """The names of all scores of a set, in the order in which they were computed."""
    names = (name for sets in evaluation["scores"].values() for name, v in sets[dataset].items() if is_measure(name, v))
    return list(dict.fromkeys(names))


def share_of_before(evaluation: Mapping[str, Any], condition: str, dataset: str) -> float | None:
    """A set's telling score in percent of the one before; `None` where that is 0 or one of the two is not known."""
    name = telling(evaluation, dataset)
    if name is None:
        return None
    value, before = (score(evaluation, c, dataset, name).value for c in (condition, Condition.BEFORE))
    return None if value is None or not before else 100 * value / before
