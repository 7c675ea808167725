"""Figures of an evaluation, the same to the byte for the same numbers."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from excise.report.measures import Condition, measure
from excise.report.plotting import COLOURS, MARKERS, image_kind, new_figure
from excise.report.results import measures

if TYPE_CHECKING:
    from excise.evaluation.sweeps import Sweep


def plot_sweep(sweep: "Sweep", path: str | os.PathLike, metrics: Sequence[str] | None = None) -> None:
    """Draws the percent change of each measure over S', selected codes solid and random codes dashed (figures 3 to 5).

    Args:
        sweep: the numbers.
        path: an SVG or PNG file to write; what was there is replaced.
        metrics: measures to draw, such as `"bleu"`; all if not given.

    Raises:
        ValueError: if the suffix is another, or a measure was not computed.
    """
    image_kind(path)
    first = next(iter(sweep.evaluations.values()))
    known = measures(first, "heldout")
    metrics = list(metrics) if metrics is not None else known
    if not metrics or set(metrics) - set(known):
        raise ValueError(f"metrics={metrics}: this sweep has {', '.join(known)}.")
    looks = {metric: known.index(metric) for metric in metrics}  # the same in every selection of measures
    with new_figure(path, figsize=(9, 4.4)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        titles = {"heldout": f"With {sweep.tested}: $D'_T$", "heldout_retain": "Without: $D_R$"}
        for axes, (dataset, title) in zip(panels, titles.items(), strict=True):
            _draw(axes, sweep, dataset, looks)
            axes.set_title(f"{title}, n = {len(first.texts[dataset])}")
        panels[0].set_ylabel("change from the original model (%)")
        figure.legend(handles=_legend(looks), loc="outside lower center", ncols=min(5, len(metrics) + 2), frameon=False)
        figure.suptitle(_caption(sweep), fontsize=8, x=0.01, ha="left", color="0.35")


def _draw(axes, sweep: "Sweep", dataset: str, looks: Mapping[str, int]) -> None:
    frame = sweep.to_pandas()
    frame = frame[frame["set"] == dataset]
    steps = [0, *sweep.evaluations]
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    for metric, i in looks.items():
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


def _line(i: int, random: bool) -> dict:
    """The look of a measure's line."""
    colour = COLOURS[i % len(COLOURS)]
    look = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "linewidth": 1.6, "markersize": 5}
    if random:
        look |= {"linestyle": (0, (4, 2)), "linewidth": 1.0, "markerfacecolor": "white", "markersize": 4}
    return look


def _legend(looks: Mapping[str, int]) -> list:
    from matplotlib.lines import Line2D

    kinds = {"selected codes": {"linewidth": 1.6}, "random codes": {"linewidth": 1.0, "linestyle": (0, (4, 2))}}
    return [
        *(Line2D([], [], **_line(i, random=False), label=measure(metric).label) for metric, i in looks.items()),
        *(Line2D([], [], color="0.3", label=label, **look) for label, look in kinds.items()),
    ]


def _caption(sweep: "Sweep") -> str:
    thresholds = next(iter(sweep.selections.values())).thresholds
    settings = next(iter(sweep.evaluations.values())).settings
    searches = thresholds.get("searches", [thresholds])
    chosen = " and ".join("{method}, {positions} positions, q ≤ {q}".format_map(search) for search in searches)
    beams = f" Beams: {settings['num_beams']}." if "num_beams" in settings else ""
    return (
        f"Codes of {sweep.topic!r} chosen by {chosen}. Random codes: as many, of like frequency, one draw "
        f"(seed {settings['seed']}).{beams}"
    )
