"""Figures of results for documents, the same to the byte for the same numbers."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from excise.codes.enrichment import Enrichment
from excise.report.frontier import Frontier
from excise.report.frontier_drawing import draw_series, series
from excise.report.in_force import InForce
from excise.report.measures import FORGET, RETAIN, Condition, measure
from excise.report.plotting import COLOURS, MARKERS, image_kind, literal, new_figure
from excise.report.results import Evaluation
from excise.report.sweep import Sweep
from excise.report.volcano import volcano
from excise.storage.expected import expects
from excise.storage.processes import by_main_process

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@by_main_process("path")
def plot_volcano(entry: Mapping[str, Any], table: Enrichment, path: str | os.PathLike) -> None:
    """Draws how much more often each code fires with the topic (log2) against how sure that is (-log10 of p or q).

    Args:
        entry: what the record says of the table.
        table: one row a code.
        path: an SVG or PNG file to write; what was there is replaced.

    Raises:
        ValueError: if the suffix is another.
    """
    points = volcano(table, entry["selected"], elsewhere=entry.get("elsewhere", {}))
    heights = points.heights
    with new_figure(path, figsize=(6.4, 4.2)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        others = ~points.selected & ~points.elsewhere
        chosen = "removed, chosen here" if points.elsewhere.any() else "codes removed"
        looks = [
            (others, "0.6", "o", 9, f"{others.sum():,} other codes"),
            (points.elsewhere, COLOURS[4], "s", 12, f"{points.elsewhere.sum():,} removed, chosen from another table"),
            (points.selected, COLOURS[1], "D", 16, f"{points.selected.sum():,} {chosen}"),
        ]
        for rows, colour, marker, size, label in looks:
            # As an image also in an SVG, where so many points would be megabytes.
            look: dict[str, Any] = {"s": size, "color": colour, "marker": marker, "alpha": 0.6, "linewidths": 0}
            if rows.any():
                axes.scatter(points.ratio[rows], heights[rows], rasterized=True, label=label, **look)
        if points.endless:
            note = f"{points.value} = 0 in floating point"
            axes.annotate(note, (0, points.top), color="0.4", ha="right", va="bottom", fontsize=7)
        axes.set_xlabel("log2 of the frequency with the topic over that without")
        axes.set_ylabel(f"-log10 of the {points.value}-value ({entry['method']})")
        topic = literal(repr(entry["topic"]))
        of_round = f", round {entry['round']} of {entry['rounds']}" if entry.get("rounds", 1) > 1 else ""
        sizes = f"{entry['num_target']:,} examples with it, {entry['num_control']:,} without"
        axes.set_title(f"Codes of {topic}{of_round}: {sizes}")
        if len(heights):
            figure.legend(loc="outside lower center", ncols=2, frameon=False)


@expects("results", path="folder")
@by_main_process("path")
def plot_frontier(
    results: Frontier | Evaluation | Iterable[Frontier | Evaluation],
    path: str | os.PathLike,
    in_force: InForce | None = None,
) -> None:
    """Draws what is left of each topic against what is left of all else, both in percent of what there was before.

    Args:
        results: a frontier is a line, an evaluation a point for each condition; one of them or several, such as
            `Record.measured`.
        path: an SVG or PNG file to write; what was there is replaced.
        in_force: `Record.in_force`, to mark the point of each line where the model is.

    Raises:
        ValueError: if the suffix is another, or there is nothing to draw.
        TypeError: if something is neither a frontier nor an evaluation.
    """
    results = [results] if isinstance(results, Frontier | Evaluation) else list(results)
    other = {type(result).__name__ for result in results if not isinstance(result, Frontier | Evaluation)}
    if other:
        raise TypeError(
            f"`plot_frontier` draws frontiers and evaluations, and was given: {', '.join(sorted(other))}. Of a record, "
            "give `record.measured`."
        )
    found = series(results, in_force)
    if not found:
        raise ValueError("There is no frontier to draw: no evaluation or frontier was given that has a model before.")
    with new_figure(path, figsize=(6.4, 4.2)) as figure:
        axes = figure.subplots()
        drawn = draw_series(axes, found)
        axes.set_title("Less of the topic is left, more of all else is up")
        handles, labels = [one.line for one in drawn], [literal(one.label) for one in drawn]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)


@expects(sweep="sweep", path="folder")
@by_main_process("path")
def plot_sweep(
    sweep: Sweep, path: str | os.PathLike, metrics: Sequence[str] | None = None, in_force: InForce | None = None
) -> None:
    """Draws the percent change of each measure over S', selected codes solid and random codes dashed (figures 3 to 5).

    Dotted is what comes back with the bottleneck left out, whatever S' is.

    Args:
        sweep: the numbers.
        path: an SVG or PNG file to write; what was there is replaced.
        metrics: measures to draw, such as `"bleu"`; all if not given.
        in_force: `Record.in_force`, to mark the step whose codes are removed in the model.

    Raises:
        ValueError: if the suffix is another, or a measure was not computed.
    """
    image_kind(path)
    first = next(iter(sweep.evaluations.values()))
    known = first.measures(FORGET)
    metrics = list(metrics) if metrics is not None else known
    if not metrics or set(metrics) - set(known):
        raise ValueError(f"metrics={metrics}: this sweep has {', '.join(known)}.")
    looks = {metric: known.index(metric) for metric in metrics}  # the same in every selection of measures
    with new_figure(path, figsize=(9, 4.4)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        titles = {FORGET: f"With {literal(sweep.tested)}: D'_T", RETAIN: "Without: D_R"}  # browsers draw ' of $ as 0
        for axes, (dataset, title) in zip(panels, titles.items(), strict=True):
            _draw(axes, sweep, dataset, looks)
            for place, step in enumerate(sweep.evaluations.values(), start=1):
                if in_force and in_force.is_of(step):
                    axes.axvline(place, color="0.3", linewidth=1, linestyle=":", zorder=0)
                    axes.annotate("in force", (place, 1), xycoords=("data", "axes fraction"), fontsize=7, va="top")
            axes.set_title(f"{title}, n = {len(first.texts[dataset])}")
        panels[0].set_ylabel("change from the original model (%)")
        handles = _legend(looks, Condition.LEFT_OUT in first.conditions)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
        figure.suptitle(_caption(sweep), fontsize=8, x=0.01, ha="left", color="0.35")


def _draw(axes: "Axes", sweep: Sweep, dataset: str, looks: Mapping[str, int]) -> None:
    frame = sweep.to_pandas()
    frame = frame[frame["set"] == dataset]
    steps = [0, *sweep.evaluations]
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    for metric, i in looks.items():
        if len(left_out := frame[(frame["metric"] == metric) & (frame["condition"] == Condition.LEFT_OUT)]):
            axes.axhline(left_out["change"].iloc[0], **_left_out(i))
        for condition in (Condition.RANDOM, Condition.AFTER):
            rows = frame[(frame["metric"] == metric) & (frame["condition"] == condition)]
            if rows.empty:
                continue
            changes = rows.set_index("top_s")["change"]
            axes.plot(
                range(len(steps)),
                [0.0, *(changes.get(step, float("nan")) for step in steps[1:])],
                **_line(i, condition == Condition.RANDOM),
            )
    codes = {step: evaluation.removed for step, evaluation in sweep.evaluations.items()}
    axes.set_xticks(range(len(steps)), ["original", *(f"{step}\n({codes[step]:,})" for step in steps[1:])])
    axes.set_xlabel("S′ (codes removed)")
    axes.yaxis.grid(True, color="0.92")
    axes.set_axisbelow(True)


def _line(i: int, random: bool) -> dict[str, Any]:
    """The look of a measure's line."""
    colour = COLOURS[i % len(COLOURS)]
    look: dict[str, Any] = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "linewidth": 1.6, "markersize": 5}
    if random:
        look |= {"linestyle": (0, (4, 2)), "linewidth": 1.0, "markerfacecolor": "white", "markersize": 4}
    return look


def _left_out(i: int) -> dict[str, Any]:
    """The look of what comes back of a measure with the bottleneck left out."""
    return {"color": COLOURS[i % len(COLOURS)], "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 1}


def _legend(looks: Mapping[str, int], left_out: bool) -> list:
    from matplotlib.lines import Line2D

    kinds: dict[str, dict[str, Any]] = {
        "selected codes": {"linewidth": 1.6},
        "random codes": {"linewidth": 1.0, "linestyle": (0, (4, 2))},
    }
    if left_out:
        kinds[Condition.LEFT_OUT] = _left_out(0)
    return [
        *(Line2D([], [], **_line(i, random=False), label=measure(metric).label) for metric, i in looks.items()),
        *(Line2D([], [], label=label, **look | {"color": "0.3"}) for label, look in kinds.items()),
    ]


def _caption(sweep: Sweep) -> str:
    thresholds = next(iter(sweep.selections.values())).thresholds
    settings = next(iter(sweep.evaluations.values())).settings
    searches = thresholds.get("searches", [thresholds])
    chosen = " and ".join("{method}, {positions} positions, q ≤ {q}".format_map(search) for search in searches)
    beams = f" Beams: {settings['num_beams']}." if "num_beams" in settings else ""
    return (
        f"Codes of {literal(repr(sweep.topic))} chosen by {chosen}. Random codes: as many, of like frequency, one draw "
        f"(seed {settings['seed']}).{beams}"
    )
