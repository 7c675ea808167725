"""Plots of results: numbers over what they are to reach, and timings beside those of other libraries."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Text stays text, and a plot of the same numbers is the same file.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "excise", "font.size": 8, "axes.spines.top": False}
STYLE |= {"axes.spines.right": False}
WIDTH, ROW = 9.0, 0.42
REACHED, MISSED, PEER = "#2a7f62", "#c1553b", "#8a8a8a"


def plot_reaches(rows: list[dict[str, Any]], path: Path) -> bool:
    """How much of what may be used is used: 1 is the number to reach, less is better. Gives whether there is any."""
    bars = []
    for row in rows:
        if row["reach"] and row["value"]:
            sign, limit = row["reach"].split()
            share = float(limit) / row["value"] if sign == ">=" else row["value"] / float(limit)
            bars.append((row["what"], share, row["passed"]))
    if not bars:
        return False
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(bars)
        axes.barh(range(len(bars)), [bar[1] for bar in bars], color=[REACHED if bar[2] else MISSED for bar in bars])
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("share of what may be used (1: the number to reach; left of it is better)")
        _save(figure, path)
    return True


def plot_peers(rows: list[dict[str, Any]], path: Path) -> bool:
    """Seconds beside those of other libraries. Gives whether there are any."""
    pairs = [row for row in rows if row["peer"] and row["value"] and row["against"] in row["seconds"]]
    if not pairs:
        return False
    bars = [(f"{row['what']} ({row['against']})", 0) for row in pairs]
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(bars)
        for offset, key, color, name in ((-0.19, "ours", REACHED, "excise"), (0.19, "against", PEER, "the other")):
            seconds = [row["seconds"][row[key]]["median"] for row in pairs]
            axes.barh([i + offset for i in range(len(pairs))], seconds, 0.36, color=color, label=name)
        axes.set_xscale("log")
        axes.set_xlabel("seconds, median")
        axes.legend(frameon=False)
        _save(figure, path)
    return True


def _figure(bars: list[Any]) -> tuple[Figure, Any]:
    figure = Figure((WIDTH, 1.0 + ROW * len(bars)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(bars)), ["\n".join(textwrap.wrap(bar[0], 62)) for bar in bars])
    axes.invert_yaxis()
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
