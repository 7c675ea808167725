"""Display of results: one line in a log, an HTML table in a notebook."""

import sys
import warnings
from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import Any

# The rows of an HTML table, and the letters of one of its cells.
MOST_ROWS, MOST_LETTERS = 60, 200


class HtmlTable:
    """A result with rows: in a notebook it is a table below the first line of its `repr`.

    Text of users, such as the name of a topic, is shown as it is and never run.
    """

    def to_pandas(self) -> Any:
        """All rows as a `pandas.DataFrame`."""
        raise NotImplementedError

    def _notebook_rows(self) -> Any:
        """The rows that a notebook shows; of many, the first and the last."""
        return self.to_pandas()

    def _repr_html_(self) -> str:
        head, _, _ = repr(self).partition("\n")
        with pandas_module().option_context("display.max_colwidth", MOST_LETTERS):
            rows = self._notebook_rows().to_html(index=False, max_rows=MOST_ROWS, escape=True)
        return f"<p>{escape(head)}</p>\n{rows}"


def pandas_module() -> Any:
    """The package, imported when it is needed: the code in a bundle has this, and asks for no pandas."""
    return import_module("pandas")


# Frames between the library's own, which are no user's.
BETWEEN = frozenset({"excise", "functools", "contextlib"})


def warn(message: str) -> None:
    """A warning that points at the line that called the library, however deep inside it is given."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def shortened(value: object, most: int = 60) -> str:
    """A value as text of one line, cut off where it is longer.

    Example:
        >>> shortened("a long name", most=8)
        'a lon...'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def few(items: Sequence[object], most: int = 4) -> str:
    """The first items in a line, each shortened, and how many more there are.

    Example:
        >>> few([1, 2, 3]), few(range(1_000), most=2)
        ('1, 2, 3', '0, 1 and 998 more')
    """
    text = ", ".join(shortened(item, 40) for item in items[:most])
    return text if len(items) <= most else f"{text} and {len(items) - most:,} more"


def printable(text: str, most: int = 500) -> str:
    r"""Text from a stranger as one line that a terminal only shows: what it does not show is written as Python does.

    Example:
        >>> printable("a\x1b[2Jb\nc")
        'a\\x1b[2Jb\\nc'
    """
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
