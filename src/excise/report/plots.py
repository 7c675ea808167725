"""Figures of a record for documents, the same to the byte for the same record."""

import os
from collections.abc import Mapping
from typing import Any

from excise.codes.enrichment import Enrichment
from excise.report.frontier_drawing import kept_range, named, series
from excise.report.measures import Condition
from excise.report.plotting import COLOURS, MARKERS, new_figure
from excise.report.volcano import volcano

# How conditions look: colour, marker, and whether it is filled.
LOOKS = {
    Condition.BEFORE: ("0.45", "o", False),
    Condition.AFTER: (COLOURS[0], "s", True),
    Condition.RANDOM: (COLOURS[4], "^", True),
}


def plot_volcano(entry: Mapping[str, Any], table: Enrichment, path: str | os.PathLike) -> None:
    """Draws how much more often each code fires with the topic (log2) against how sure that is (-log10 of p or q).

    Args:
        entry: what the record says of the table.
        table: one row a code.
        path: an SVG or PNG file to write; what was there is replaced.

    Raises:
        ValueError: if the suffix is another.
    """
    points = volcano(table, entry["selected"])
    heights = points.heights
    with new_figure(path, figsize=(6.4, 4.2)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        looks = [
            (~points.selected, "0.6", "o", 9, f"{(~points.selected).sum():,} other codes"),
            (points.selected, COLOURS[1], "D", 16, f"{points.selected.sum():,} codes removed"),
        ]
        for rows, colour, marker, size, label in looks:
            # As an image also in an SVG, where so many points would be megabytes.
            look = {"s": size, "color": colour, "marker": marker, "alpha": 0.6, "linewidths": 0}
            if rows.any():
                axes.scatter(points.ratio[rows], heights[rows], rasterized=True, label=label, **look)
        if points.endless:
            note = f"{points.value} = 0 in floating point"
            axes.annotate(note, (0, points.top), color="0.4", ha="right", va="bottom", fontsize=7)
        axes.set_xlabel("log2 of the frequency with the topic over that without")
        axes.set_ylabel(f"-log10 of the {points.value}-value ({entry['method']})")
        axes.set_title(
            f"Codes of {entry['topic']!r}: {entry['num_target']:,} examples with it, {entry['num_control']:,} without"
        )
        if len(heights):
            figure.legend(loc="outside lower center", ncols=2, frameon=False)


def plot_frontier(state: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Draws what is left of each topic against what is left of all else, both in percent of what there was before.

    Args:
        state: of a record.
        path: an SVG or PNG file to write; what was there is replaced.

    Raises:
        ValueError: if the suffix is another, or the record has nothing to draw.
    """
    found = series(state)
    if not found:
        raise ValueError("There is no frontier to draw: the record has no evaluation or frontier with a model before.")
    with new_figure(path, figsize=(6.4, 4.2)) as figure:
        axes = figure.subplots()
        for level in (0, 100):
            axes.axvline(level, color="0.88", linewidth=0.8, zorder=0)
        axes.axhline(100, color="0.88", linewidth=0.8, zorder=0)
        for i, line in enumerate(one for one in found if one.kind == "frontier"):
            look = {"color": COLOURS[(i + 2) % len(COLOURS)], "marker": MARKERS[(i + 3) % len(MARKERS)]}
            label = f"{line.topic}: more and more codes"
            axes.plot(*zip(*((p.left, p.kept) for p in line.places), strict=True), label=label, markersize=4, **look)
        for kind, (colour, marker, filled) in LOOKS.items():
            places = [place for one in found if one.kind == kind for place in one.places]
            if places:
                look = {"color": colour, "marker": marker, "markerfacecolor": colour if filled else "white"}
                axes.plot([p.left for p in places], [p.kept for p in places], linestyle="", label=kind, **look)
        for one in named(found):
            (place,) = one.places
            where = {"xytext": (6, -3), "textcoords": "offset points"}
            axes.annotate(one.topic, (place.left, place.kept), fontsize=7, color="0.3", **where)
        axes.set_xlabel("left of the topic (% of before)")
        axes.set_ylabel("left of all else (% of before)")
        axes.set_ylim(*kept_range(found))
        axes.set_title("Forgotten is left, kept is up")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
