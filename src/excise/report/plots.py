"""Figures of a record for documents, the same to the byte for the same record."""

import os
from collections.abc import Mapping
from typing import Any

from excise.codes.enrichment import Enrichment
from excise.report.frontier_drawing import draw_series, series
from excise.report.plotting import COLOURS, literal, new_figure
from excise.report.volcano import volcano


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
        topic = literal(repr(entry["topic"]))
        axes.set_title(f"Codes of {topic}: {entry['num_target']:,} examples with it, {entry['num_control']:,} without")
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
        drawn = draw_series(axes, found)
        axes.set_title("Forgotten is left, kept is up")
        handles, labels = [one.line for one in drawn], [literal(one.label) for one in drawn]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
