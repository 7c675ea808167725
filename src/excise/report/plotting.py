"""The style of all figures, which are the same to the byte for the same numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.storage.files import new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito (2008), told apart with any colour vision; markers tell the lines apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.hashsalt": "excise",
    "svg.fonttype": "none",
}
# Fields that hold a date or a version.
NO_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


@contextmanager
def new_figure(path: str | os.PathLike, figsize: tuple[float, float]) -> Iterator["Figure"]:
    """A figure to draw into, written to an SVG or PNG file when the context ends without an error.

    Args:
        path: the file; what was there is replaced.
        figsize: width and height in inches.

    Raises:
        ValueError: if the suffix is another.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = image_kind(path)
    with rc_context(STYLE):
        figure = Figure(figsize=figsize, layout="constrained")
        yield figure
        with new_file(path) as partial:
            figure.savefig(partial, format=kind, dpi=150, metadata=NO_METADATA[kind])


def image_kind(path: str | os.PathLike) -> str:
    """`"svg"` or `"png"`, by a file's suffix.

    Raises:
        ValueError: if it is another.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in NO_METADATA:
        raise ValueError(f"{os.fspath(path)!r}: pictures are written as .svg or .png; give a path that ends in one.")
    return kind
