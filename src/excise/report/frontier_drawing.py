"""Drawing of forgetting against keeping: evaluations as points, frontiers as lines, in one figure."""

from collections.abc import Iterable, Sequence
from math import floor, isnan
from typing import TYPE_CHECKING, Any, NamedTuple

from excise.report.frontier import Frontier
from excise.report.in_force import InForce
from excise.report.measures import FORGET, RETAIN, Condition, measure
from excise.report.plotting import COLOURS, MARKERS, literal
from excise.report.results import Evaluation
from excise.report.sweep import sweep_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# The conditions that are drawn.
DRAWN = (Condition.BEFORE, Condition.AFTER, Condition.LEFT_OUT, Condition.RANDOM, Condition.RANDOM_TOPIC)
# The kind of a point of a line where the model is.
IN_FORCE = "in force"
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
        kind: `"frontier"`, a line through points of more and more codes; `"in force"`, the point of one where the model
            is; or the name of a condition.
        places: the points.
        measured: what was measured, in words.
    """

    topic: str
    kind: str
    places: tuple[Place, ...]
    measured: str


def series(results: Iterable[Frontier | Evaluation], now: InForce | None = None) -> list[Series]:
    """All that results have for the figure: lines first. What has nothing before to be set against is left out.

    Args:
        results: frontiers, and evaluations, of which the steps of sweeps are lines too.
        now: the state that is in force, to mark where lines are in it.
    """
    results = list(results)
    evaluations = [result for result in results if isinstance(result, Evaluation)]
    lines = [_line(frontier, now) for frontier in results if isinstance(frontier, Frontier)]
    lines += [_sweep(steps, now) for steps in sweep_steps(evaluations).values()]
    found = [one for line in lines for one in line]
    for evaluation in evaluations:
        if "top_s" not in evaluation.settings:
            found += _points(evaluation, now)
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


def _line(frontier: Frontier, now: InForce | None) -> list[Series]:
    shares = [frontier.share_left(point, of=100) for point in frontier.points]
    if any(map(isnan, shares[0])):
        return []
    name = frontier.topic + (f" by {frontier.method}" if frontier.method else "")
    places = tuple(
        Place(left, kept, f"{name}, {point.removed:,} codes removed")
        for point, (left, kept) in zip(frontier.points, shares, strict=True)
    )
    reached = now.point(frontier) if now else None
    there = [frontier.points.index(reached)] if reached else []
    return _with_marks(name, places, there, "accuracy on the class; accuracy on others")


def _sweep(steps: Sequence[Evaluation], now: InForce | None) -> list[Series]:
    topic, measured = steps[0].topic, _measured(steps[0])
    places, there = [Place(100.0, 100.0, f"{topic} over S′, before")], []
    for step in steps:
        left, kept = (step.share_left(dataset, of=100) for dataset in (FORGET, RETAIN))
        if not isnan(left + kept):
            there += [len(places)] if now and now.is_of(step) else []
            label = f"{topic}, S′ = {step.settings['top_s']}, {step.removed:,} codes removed"
            places.append(Place(left, kept, label))
    return _with_marks(f"{topic} over S′", tuple(places), there, measured) if len(places) > 1 else []


def _with_marks(name: str, places: Sequence[Place], there: Sequence[int], measured: str) -> list[Series]:
    """A line, and its points where the model is."""
    marks = tuple(places[i]._replace(label=f"{places[i].label}: {IN_FORCE}") for i in there)
    line = Series(name, "frontier", tuple(places), measured)
    return [line, Series(name, IN_FORCE, marks, measured)] if marks else [line]


def _measured(evaluation: Evaluation) -> str:
    names = [measure(evaluation.telling(dataset) or "").label for dataset in (FORGET, RETAIN)]
    return f"{names[0]} with the topic; {names[1]} without"


def _points(evaluation: Evaluation, now: InForce | None) -> list[Series]:
    points, other = [], ", of other codes than those in force" if now and not now.is_of(evaluation) else ""
    for condition in DRAWN:
        left, kept = (evaluation.share_left(dataset, condition, of=100) for dataset in (FORGET, RETAIN))
        if not isnan(left + kept):
            place = Place(left, kept, f"{evaluation.topic}, {condition}{other if condition == Condition.AFTER else ''}")
            points.append(Series(evaluation.topic, condition, (place,), _measured(evaluation)))
    return points


# How conditions look: colour, marker, and whether it is filled.
LOOKS = {
    Condition.BEFORE: ("0.45", "o", False),
    Condition.AFTER: (COLOURS[0], "s", True),
    Condition.LEFT_OUT: (COLOURS[1], "X", True),
    Condition.RANDOM: (COLOURS[4], "^", True),
    Condition.RANDOM_TOPIC: (COLOURS[4], "v", False),
}
RING = {"color": "0.3", "marker": "o", "markerfacecolor": "none", "markersize": 12, "linestyle": ""}


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
    rings = [place for one in found if one.kind == IN_FORCE for place in one.places]
    if rings:
        plot(rings, IN_FORCE, **RING)
    for one in named(found):
        (place,) = one.places
        name = axes.annotate(literal(one.topic), (place.left, place.kept), xytext=(6, -3), textcoords="offset points")
        name.set(fontsize="small", color="0.3")
    axes.set_xlabel("left of the topic (% of before)")
    axes.set_ylabel("left of all else (% of before)")
    axes.set_ylim(*kept_range(found))
    return drawn
