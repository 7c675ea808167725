"""Tables in Markdown."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from excise.storage.extras import require


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    r"""A table of any text, whose columns line up in plain text too: bars are escaped, line breaks become spaces.

    Args:
        header: names of the columns.
        rows: as many cells each.

    Raises:
        MissingExtraError: if tabulate, of the extra `report`, is not installed.

    Example:
        >>> print(markdown(["S'", "codes"], [["8", "a | b"]]))
        | S'   | codes   |
        |------|---------|
        | 8    | a \| b  |
    """
    require("report", purpose="A table in Markdown", modules=["tabulate"])
    from tabulate import tabulate

    cells = [[plain(cell).replace("|", r"\|") for cell in row] for row in (header, *rows)]
    return tabulate(cells[1:], cells[0], tablefmt="github", disable_numparse=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, each in one line and its bars escaped.

    Rows are no longer than their own cells, so that one long text among many rows does not lengthen them all.

    Example:
        >>> print(table(["a", "b"], [["**1**", "2"]]))
        | a | b |
        |-------|-----|
        | **1** | 2 |
    """
    require("report", purpose="A table in Markdown", modules=["tabulate"])
    from tabulate import tabulate

    return tabulate(rows, header, tablefmt="github", stralign=None, disable_numparse=True)


def plain(value: Any) -> str:
    r"""One line without control characters and others that XML may not hold.

    Example:
        >>> plain("two\nlines\x07")
        'two lines'
    """
    letters = (" " if _is_forbidden(letter) else letter for letter in str(value))
    return " ".join("".join(letters).split())


def _is_forbidden(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in "\ufffe\uffff"
