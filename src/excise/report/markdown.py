"""Markdown: tables, and text of users that marks nothing up."""

import re
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


# What marks something up, wherever it stands in a line.
MARKS = re.compile(r"([\\`*_\[\]{}<>|#!~$&])")
# What begins a list, a heading or a rule, where it stands first.
STARTS = re.compile(r"^(\d*)([-+=.)])(?=\s|$|[-=]+$)")


def escaped(value: Any) -> str:
    r"""One line of Markdown that shows a text as it is.

    Example:
        >>> print(escaped("a | *b*"))
        a \| \*b\*
    """
    return STARTS.sub(r"\1\\\2", MARKS.sub(r"\\\1", plain(value)))


def code(value: Any) -> str:
    """A text in the type of code, in a line or in a cell of a table.

    Example:
        >>> code("a`b")
        '``a`b``'
    """
    text = plain(value).replace("|", "\N{DIVIDES}")  # a bar would end the cell, in code too
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if text[:1] in ("`", "") or text[-1:] == "`" else f"{fence}{text}{fence}"


def listed(items: Sequence[str]) -> str:
    """Words as a list in a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> counted(1, "code"), counted(2_000, "code")
        ('1 code', '2,000 codes')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
