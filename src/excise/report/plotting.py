"""Style of all figures, which are the same to the byte for the same numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.report.markdown import plain
from excise.storage.extras import require
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
        MissingExtraError: if the extra `report` is not installed.
        ValueError: if the suffix is another.
    """
    require("report", purpose="A figure")
    kind = image_kind(path)
    with styled_figure(figsize) as figure:
        yield figure
        with new_file(path) as partial:
            figure.savefig(partial, format=kind, dpi=150, metadata=NO_METADATA[kind])


@contextmanager
def styled_figure(figsize: tuple[float, float], **style: Any) -> Iterator["Figure"]:
    """A figure in the style of all figures, which holds as long as the context.

    Args:
        figsize: width and height in inches.
        style: changes to the style, by matplotlib's names with `_` for the dot, such as `font_size`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE | {name.replace("_", "."): value for name, value in style.items()}):
        yield Figure(figsize=figsize, layout="constrained")


def literal(text: str) -> str:
    r"""A text that matplotlib draws as it is: in one line, and no formula.

    Example:
        >>> print(literal("$5 or\n$6"))
        \$5 or \$6
    """
    return plain(text).replace("$", r"\$")


def image_kind(path: str | os.PathLike) -> str:
    """`"svg"` or `"png"`, by a file's suffix.

    Raises:
        ValueError: if it is another.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in NO_METADATA:
        raise ValueError(f"{os.fspath(path)!r}: pictures are written as .svg or .png; give a path that ends in one.")
    return kind
