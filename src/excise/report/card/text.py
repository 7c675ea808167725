"""Text of users, such as the name of a topic, inside Markdown: it reads as it was given and marks nothing up."""

import re
from collections.abc import Sequence
from typing import Any

from excise.report.markdown import plain

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
