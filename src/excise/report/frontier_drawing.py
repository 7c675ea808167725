"""Drawing of forgetting against keeping: evaluations as points, frontiers as lines, in one figure."""

from collections.abc import Iterable, Sequence
from math import floor, isnan
from typing import TYPE_CHECKING, Any, NamedTuple

from excise.report.frontier import Frontier
from excise.report.measures import FORGET, RETAIN, Condition, measure
from excise.report.plotting import COLOURS, MARKERS, literal
from excise.report.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# The conditions that are drawn.
DRAWN = (Condition.BEFORE, Condition.AFTER, Condition.LEFT_OUT, Condition.RANDOM, Condition.RANDOM_TOPIC)
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


# How conditions look: colour, marker, and whether it is filled.
LOOKS = {
    Condition.BEFORE: ("0.45", "o", False),
    Condition.AFTER: (COLOURS[0], "s", True),
    Condition.LEFT_OUT: (COLOURS[1], "X", True),
    Condition.RANDOM: (COLOURS[4], "^", True),
    Condition.RANDOM_TOPIC: (COLOURS[4], "v", False),
}


class Drawn(NamedTuple):
    """What was drawn in one look: a frontier, or all points of a condition.

    Args:
        line: the artist.
        label: what it is.
        places: its points, in order.
    """

    line: "Line2D"
    label: str
    places: Sequence[Place]


def draw_series(axes: "Axes", found: Sequence[Series]) -> list[Drawn]:
    """Draws lines and points, names some of them, and says what the axes are."""
    for level in (0, 100):
        axes.axvline(level, color="0.88", linewidth=0.8, zorder=0)
    axes.axhline(100, color="0.88", linewidth=0.8, zorder=0)
    drawn = []

    def plot(places: Sequence[Place], label: str, **look: Any) -> None:
        (line,) = axes.plot([place.left for place in places], [place.kept for place in places], **look)
        drawn.append(Drawn(line, label, places))

    for i, one in enumerate(one for one in found if one.kind == "frontier"):
        look = {"color": COLOURS[(i + 2) % len(COLOURS)], "marker": MARKERS[(i + 3) % len(MARKERS)]}
        plot(one.places, f"{one.topic}: more and more codes", markersize=4, **look)
    for kind, (colour, marker, filled) in LOOKS.items():
        places = [place for one in found if one.kind == kind for place in one.places]
        if places:
            look = {"color": colour, "marker": marker, "markerfacecolor": colour if filled else "white"}
            plot(places, kind, linestyle="", **look)
    for one in named(found):
        (place,) = one.places
        name = axes.annotate(literal(one.topic), (place.left, place.kept), xytext=(6, -3), textcoords="offset points")
        name.set(fontsize="small", color="0.3")
    axes.set_xlabel("left of the topic (% of before)")
    axes.set_ylabel("left of all else (% of before)")
    axes.set_ylim(*kept_range(found))
    return drawn
