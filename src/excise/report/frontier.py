"""How much of a topic is left, and how much of all else: evaluations as points, frontiers as lines, in one figure."""

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any, NamedTuple

from excise.conditions import AFTER, BEFORE, RANDOM
from excise.measures import measure
from excise.report.scores import FORGET, RETAIN, share_of_before, telling

# The conditions that are drawn.
DRAWN = (BEFORE, AFTER, RANDOM)
# The width of a name, in percent of what is left.
NAME = 25.0


class Place(NamedTuple):
    """A point of the figure.

    Args:
        left: what is left of the topic, in percent of what there was before.
        kept: what is left of all else.
        label: what it is.
    """

    left: float
    kept: float
    label: str


class Series(NamedTuple):
    """Points that belong together.

    Args:
        topic: what was forgotten; of a frontier, by which way too, as there may be several.
        kind: `"frontier"`, a line through points of more and more codes, or the name of a condition.
        places: the points.
        measured: what was measured, in words.
    """

    topic: str
    kind: str
    places: tuple[Place, ...]
    measured: str


def series(state: Mapping[str, Any]) -> list[Series]:
    """All that a record has for the figure: lines first. What has nothing before to be set against is left out."""
    found = [line for frontier in state["frontiers"] if (line := _line(frontier))]
    for evaluation in state["evaluations"]:
        for condition in DRAWN:
            left, kept = (share_of_before(evaluation, condition, dataset) for dataset in (FORGET, RETAIN))
            if left is None or kept is None:
                continue
            place = Place(left, kept, f"{evaluation['topic']}, {condition}")
            found.append(Series(evaluation["topic"], condition, (place,), _measured(evaluation)))
    return found


def kept_range(found: Sequence[Series]) -> tuple[float, float]:
    """The ends of the axis of what is kept: that is near 100 % as a rule and differs little, so it starts high."""
    kept = [place.kept for one in found for place in one.places]
    return min(90.0, 10.0 * floor(min(kept) / 10)), max(102.0, 1.0 + max(kept))


def named(found: Sequence[Series]) -> list[Series]:
    """The points after, of several topics, that have room for a name beside them."""
    after = [one for one in found if one.kind == AFTER]
    low, high = kept_range(found)

    def near(one: Series, other: Series) -> bool:
        (a,), (b,) = one.places, other.places
        return abs(a.left - b.left) < NAME and abs(a.kept - b.kept) < (high - low) / 16

    return [one for one in after if len(after) > 1 and not any(near(one, two) for two in after if two is not one)]


def _line(frontier: Mapping[str, Any]) -> Series | None:
    first = frontier["points"][0]
    if not (first[2] and first[3]):
        return None
    name = frontier["topic"] + (f" by {frontier['method']}" if frontier["method"] else "")
    places = tuple(
        Place(100 * forget / first[2], 100 * retain / first[3], f"{name}, {removed:,} codes removed")
        for _, removed, forget, retain in frontier["points"]
    )
    return Series(name, "frontier", places, "accuracy on the class; accuracy on others")


def _measured(evaluation: Mapping[str, Any]) -> str:
    names = [measure(telling(evaluation, dataset) or "").label for dataset in (FORGET, RETAIN)]
    return f"{names[0]} with the topic; {names[1]} without"
