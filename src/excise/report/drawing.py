"""The frontier as a drawing for a page: places in its own units, so that the template only has to put them down."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from excise.report.frontier import kept_range, named, series

# The drawing and its margins.
WIDTH, HEIGHT = 380, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40


def drawing(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Axes, lines and points of the frontier; `None` where there is nothing to draw."""
    found = series(state)
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
