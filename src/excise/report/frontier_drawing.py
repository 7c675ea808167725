"""How much of a topic is left, and how much of all else: evaluations as points, frontiers as lines, in one figure."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isnan
from typing import Any, NamedTuple

from excise.report.frontier import Frontier
from excise.report.measures import FORGET, RETAIN, Condition, measure
from excise.report.results import Evaluation

# The conditions that are drawn.
DRAWN = (Condition.BEFORE, Condition.AFTER, Condition.RANDOM)
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


def series(results: Iterable[Frontier | Evaluation]) -> list[Series]:
    """All that results have for the figure: lines first. What has nothing before to be set against is left out."""
    results = list(results)
    found = [line for frontier in results if isinstance(frontier, Frontier) and (line := _line(frontier))]
    for evaluation in results:
        if isinstance(evaluation, Evaluation):
            found += _points(evaluation)
    return found


def kept_range(found: Sequence[Series]) -> tuple[float, float]:
    """The ends of the axis of what is kept: that is near 100 % as a rule and differs little, so it starts high."""
    kept = [place.kept for one in found for place in one.places]
    return min(90.0, 10.0 * floor(min(kept) / 10)), max(102.0, 1.0 + max(kept))


def named(found: Sequence[Series]) -> list[Series]:
    """The points after, of several topics, that have room for a name beside them."""
    after = [one for one in found if one.kind == Condition.AFTER]
    low, high = kept_range(found)

    def near(one: Series, other: Series) -> bool:
        (a,), (b,) = one.places, other.places
        return abs(a.left - b.left) < NAME and abs(a.kept - b.kept) < (high - low) / 16

    return [one for one in after if len(after) > 1 and not any(near(one, two) for two in after if two is not one)]


def _line(frontier: Frontier) -> Series | None:
    shares = [frontier.share_left(point, of=100) for point in frontier.points]
    if any(map(isnan, shares[0])):
        return None
    name = frontier.topic + (f" by {frontier.method}" if frontier.method else "")
    places = tuple(
        Place(left, kept, f"{name}, {point.removed:,} codes removed")
        for point, (left, kept) in zip(frontier.points, shares, strict=True)
    )
    return Series(name, "frontier", places, "accuracy on the class; accuracy on others")


def _points(evaluation: Evaluation) -> list[Series]:
    names = [measure(evaluation.telling(dataset) or "").label for dataset in (FORGET, RETAIN)]
    measured = f"{names[0]} with the topic; {names[1]} without"
    points = []
    for condition in DRAWN:
        left, kept = (evaluation.share_left(dataset, condition, of=100) for dataset in (FORGET, RETAIN))
        if not isnan(left + kept):
            place = Place(left, kept, f"{evaluation.topic}, {condition}")
            points.append(Series(evaluation.topic, condition, (place,), measured))
    return points


# The drawing and its margins.
WIDTH, HEIGHT = 380, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40


def drawing(results: Iterable[Frontier | Evaluation]) -> dict[str, Any] | None:
    """Axes, lines and points of the frontier; `None` where there is nothing to draw."""
    found = series(results)
    if not found:
        return None
    places = [place for one in found for place in one.places]
    right = max(105.0, *(place.left for place in places))
    low, high = kept_range(found)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (max(value, -4) + 4) / (right + 4), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)

    step = next(step for step in (1, 2, 5, 10, 20, 25, 50, 100, 250, 1000) if (high - low) / step <= 7)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "frame": (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
        "x_ticks": [(x(value), f"{value}") for value in range(0, int(right) + 1, 25 if right <= 200 else 100)],
        "y_ticks": [(y(value), f"{value}") for value in range(ceil(low / step) * step, int(high) + 1, step)],
        "lines": [" ".join(f"{x(p.left)},{y(p.kept)}" for p in one.places) for one in found if one.kind == "frontier"],
        "points": [
            {"x": x(p.left), "y": y(p.kept), "kind": one.kind, "label": p.label, "left": p.left, "kept": p.kept}
            for one in found
            for p in one.places
        ],
        "names": [(x(one.places[0].left) + 9, y(one.places[0].kept) + 4, one.topic) for one in named(found)],
        "measured": list(dict.fromkeys(one.measured for one in found)),
        "kinds": list(dict.fromkeys(one.kind for one in found)),
    }
