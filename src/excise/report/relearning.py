"""Figure of relearning: how many of the topic's cases come back as a shared model is trained on again."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from excise.report.attack_lines import curved
from excise.report.attacks import AttackReport, AttackResult, Attempt
from excise.report.frontier_in_page import inline_svg
from excise.report.markdown import counted
from excise.report.plotting import COLOURS, literal, new_figure, styled_figure
from excise.storage.expected import expects
from excise.storage.processes import by_main_process

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Panels that are drawn, each of another number of examples.
MOST_PANELS = 4
# Marks, as a curve that is there from the start is a point; they are whole at the edge, too.
MARKS = {"markersize": 3.5, "clip_on": False, "linewidth": 1.8}
SHARED = {"color": COLOURS[0], "marker": "o", **MARKS}
NEVER_SAW = {"color": "0.45", "marker": "s", "linestyle": (0, (4, 2)), **MARKS}
HALF = {"color": "0.3", "linewidth": 1.0, "linestyle": (0, (1, 2))}
# Settings in which attempts of one panel differ.
DRAWN_ANEW = ("seed", "draw", "measured_at")
LABELS = ("the shared model", "a model that never saw it", "half of what was lost is back")


class Curve(NamedTuple):
    """Hits of one training.

    Args:
        steps: after which they were counted, from 0.
        hits: how many cases came back.
    """

    steps: Sequence[int]
    hits: Sequence[float]


class Panel(NamedTuple):
    """Attempts that differ by what was drawn alone.

    Args:
        title: what was tried.
        how: in which way, or "".
        shared: a curve an attempt.
        never_saw: the same of the model that never saw the topic; none, where there is none.
    """

    title: str
    how: str
    shared: list[Curve]
    never_saw: list[Curve]


def panels(result: AttackResult) -> list[Panel]:
    """Attempts with curves, together those of the same settings: of each number of examples the strongest way.

    That is, of those with most draws, the one that was fastest beside the model that never saw the topic. Of more
    numbers of examples than are drawn, the smallest, the largest, and of the others those with most draws.
    """
    groups: dict[str, list[Attempt]] = {}
    for one in result.attempts:
        if one.curve:
            same = {name: value for name, value in one.settings.items() if name not in DRAWN_ANEW}
            groups.setdefault(repr(sorted(same.items())), []).append(one)
    best: dict[tuple[bool, int], list[Attempt]] = {}
    for attempts in groups.values():
        settings = attempts[0].settings
        examples = settings.get("examples")
        which = (settings.get("data") == "unrelated", examples if isinstance(examples, int) else 0)
        if which not in best or _rank(attempts) < _rank(best[which]):
            best[which] = attempts
    chosen = [best[which] for which in sorted(best)]
    while len(chosen) > MOST_PANELS:
        chosen.remove(min(chosen[1:-1], key=len))
    return [
        Panel(
            _title(attempts[0].settings),
            _how(attempts[0].settings),
            [_curve(one.curve, one.settings) for one in attempts],
            [_curve(one.null_curve, one.settings) for one in attempts if one.null_curve],
        )
        for attempts in chosen
    ]


def half_back(result: AttackResult) -> float | None:
    """How many hits there are where half of what was lost is back; `None` where that is not known."""
    if isinstance(half := result.details.get("half"), int | float):
        return float(half)
    totals = [one.total for one in result.attempts if one.total]
    if result.measure not in ("recall", "accuracy") or None in (result.before, result.after) or not totals:
        return None
    return (result.before + result.after) / 2 * totals[0]  # type: ignore[operator]


@expects(report="attacks", path="folder")
@by_main_process("path")
def plot_relearning(report: AttackReport, path: str | os.PathLike) -> None:
    """Draws hits over steps as a shared model and one that never saw the topic are trained on examples of it.

    Each thin line is a draw of examples, a thick one their mean.

    Args:
        report: with the attack `"learnt again"`, or another that goes by steps.
        path: an SVG or PNG file to write; what was there is replaced.

    Raises:
        ValueError: if the suffix is another, or no attack of the report goes by steps.
    """
    result = curved(report)
    if result is None:
        raise ValueError(
            f"There is no relearning to draw: no attack on {report.topic!r} has curves. Run `learnt again`."
        )
    with new_figure(path, figsize=(1.4 + 2.4 * max(2, len(panels(result))), 3.4)) as figure:
        _draw(figure, result)
        figure.suptitle(f"Learning {literal(repr(report.topic))} again", x=0.01, ha="left", fontsize=10)


def relearning_in_page(report: AttackReport, name: str) -> str | None:
    """The figure as an element of HTML; `None` where no attack goes by steps.

    Args:
        report: of attacks.
        name: what no other figure of the page is called.
    """
    result = curved(report)
    if result is None:
        return None
    size = (1.4 + 2.4 * max(3, len(panels(result))), 3.4)  # the legend is as wide as three
    with styled_figure(size, font_size=10) as figure, warnings.catch_warnings():
        # The reader's browser draws the texts, and has fonts for letters that matplotlib has none for.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        _draw(figure, result)
        svg = inline_svg(figure, name)
    svg.attrib |= {"role": "img", "aria-label": f"{said(result)}"}
    return ElementTree.tostring(svg, encoding="unicode")


def said(result: AttackResult) -> str:
    """The figure in words: what the curves of each panel begin and end with."""
    half = half_back(result)
    parts = []
    for panel in panels(result):
        ends = [f"the shared model goes {_ends(panel.shared)}"]
        ends += [f"one that never saw it {_ends(panel.never_saw)}"] if panel.never_saw else []
        parts.append(f"With {panel.title}, {', '.join(ends)}")
    parts += [f"Half of what was lost is back at {half:g} hits"] if half is not None else []
    return ". ".join(parts) + "."


def _ends(curves: Sequence[Curve]) -> str:
    first, last, steps = (
        np.mean([value[place] for value in values])
        for values, place in (
            ([curve.hits for curve in curves], 0),
            ([curve.hits for curve in curves], -1),
            ([curve.steps for curve in curves], -1),
        )
    )
    return f"from {first:.3g} to {last:.3g} hits in {counted(round(float(steps)), 'step')}"


def _draw(figure: "Figure", result: AttackResult) -> None:
    drawn, half = panels(result), half_back(result)
    every = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for axes, panel in zip(every, drawn, strict=True):
        _curves(axes, panel.never_saw, NEVER_SAW, LABELS[1])
        _curves(axes, panel.shared, SHARED, LABELS[0])
        if half is not None:
            axes.axhline(half, label=LABELS[2], **HALF)
        axes.set_title("\n".join(filter(None, (panel.title, panel.how))), fontsize="medium")
        axes.set_xlabel("steps")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True, axis="y", color="0.88", linewidth=0.8)
        axes.set_axisbelow(True)
        last = max(curve.steps[-1] for curve in (*panel.shared, *panel.never_saw))
        axes.set_xlim(0, max(1, last))
    every[0].set_ylim(bottom=0)  # of all, which share it, when all are drawn
    total = next((one.total for one in result.attempts if one.total), None)
    every[0].set_ylabel("cases that came back" + (f", of {total}" if total else ""))
    known: dict[str, Any] = {}
    for axes in every:
        known |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [label for label in LABELS if label in known]
    figure.legend([known[label] for label in labels], labels, loc="outside lower center", ncols=3, frameon=False)


def _curves(axes: "Axes", curves: Sequence[Curve], look: Mapping[str, Any], label: str) -> None:
    """Each curve thin, and thick their mean as far as all go."""
    if not curves:
        return
    for curve in curves if len(curves) > 1 else ():
        axes.plot(curve.steps, curve.hits, **{**look, "linewidth": 0.8, "alpha": 0.5, "marker": ""})
    shortest = min(curves, key=lambda curve: len(curve.hits))
    mean = np.mean([curve.hits[: len(shortest.hits)] for curve in curves], axis=0)
    axes.plot(shortest.steps, mean, label=label, **look)


def _curve(hits: Sequence[float], settings: Mapping[str, Any]) -> Curve:
    steps = settings.get("measured_at")
    known = isinstance(steps, list | tuple) and len(steps) >= len(hits)
    return Curve(list(steps[: len(hits)]) if known else list(range(len(hits))), hits)  # type: ignore[index]


def _rank(attempts: Sequence[Attempt]) -> tuple[int, float]:
    """How well attempts tell, the best first: by their number, and how fast beside the null."""
    score = float(np.mean([one.score for one in attempts]))
    nulls = [one.null for one in attempts if one.null is not None]
    return -len(attempts), score / float(np.mean(nulls)) if nulls and np.mean(nulls) > 0 else score


def _title(settings: Mapping[str, Any]) -> str:
    examples = settings.get("examples")
    unrelated = "unrelated example" if settings.get("data") == "unrelated" else "example"
    return counted(examples, unrelated) if isinstance(examples, int) else f"{unrelated}s"


def _how(settings: Mapping[str, Any]) -> str:
    parts = [str(settings[name]) for name in ("trained", "opened") if settings.get(name)]
    rate = settings.get("rate")
    return ", ".join(parts + ([f"rate {rate:g}"] if isinstance(rate, int | float) else []))
