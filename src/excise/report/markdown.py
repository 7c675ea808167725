"""Markdown: tables, text of users that marks nothing up, and text without the escapes that make it so."""

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from excise.data.forget_sets import UNSEEN
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
    r"""One line without control characters and others that XML may not hold; marks of direction are escapes.

    Example:
        >>> plain("two\nlines\x07")
        'two lines'
    """
    letters = (" " if _is_forbidden(letter) else letter for letter in str(value))
    return shown(" ".join("".join(letters).split()))


def shown(text: str) -> str:
    r"""A text in which what turns the direction of others, or is not seen at all, is an escape to be read.

    Example:
        >>> print(shown("a\u202eb"))
        a\u202eb
    """
    return UNSEEN.sub(lambda mark: mark[0].encode("unicode_escape").decode(), text)


def _is_forbidden(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in "\ufffe\uffff"


# What marks something up, wherever it stands in a line.
MARKS = re.compile(r"([\\`*_\[\]{}<>|#!~$&])")
# What begins a list, a heading or a rule, where it stands first.
STARTS = re.compile(r"^(\d*)([-+=.)])(?=\s|$|[-=]+$)")


# What sites make a link of by themselves: addresses, mentions of users, numbers of issues.
LINKS = re.compile(r"://|www\.|@|#\d|(mailto|xmpp):", re.IGNORECASE)


def escaped(value: Any) -> str:
    r"""One line of Markdown that shows a text as it is. What would be a link without being marked up is set as code.

    Example:
        >>> print(escaped("a | *b* of @c"))
        a \| \*b\* of `@c`
    """
    words = [code(word) if LINKS.search(word) else MARKS.sub(r"\\\1", word) for word in plain(value).split(" ")]
    return STARTS.sub(r"\1\\\2", " ".join(words))


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


def _letters(match: re.Match[str]) -> str:
    """The letters of an escape of JSON, JavaScript or Python, of bytes in a row as UTF-8."""
    if match["bytes"]:
        codes = re.findall(r"\\x([0-9a-fA-F]{2})|\\([0-7]{3})", match["bytes"])
        return bytes(int(x, 16) if x else int(octal, 8) & 255 for x, octal in codes).decode("utf-8", "replace")
    if match["code"] or match["braced"]:
        code = int(match["code"] or match["braced"], 16)
        return chr(code) if code < 0x110000 else " "
    return {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}.get(match["one"], match["one"])


ESCAPES = re.compile(
    r"(?P<bytes>(?:\\x[0-9a-fA-F]{2}|\\[0-7]{3})+)|\\(?:[uU](?P<code>(?<=U)[0-9a-fA-F]{8}|(?<=u)[0-9a-fA-F]{4})"
    r"|u\{(?P<braced>[0-9a-fA-F]{1,6})\}|(?P<one>[nrtbf/\"'\\]))"
)


def _of_code(text: str) -> str:
    return ESCAPES.sub(_letters, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def unescaped(text: str) -> Iterator[str]:
    """A text as it is, then without its escapes of HTML, JSON and URLs, however nested, and each of these without tags.

    Example:
        >>> "New York" in unescaped("<b>New%26%23x20;York</b>")
        True
    """
    seen: dict[str, None] = {text: None}
    for _ in range(3):
        for decode in (html.unescape, _of_code, unquote):
            text = decode(text)
            seen[text] = None
    for variant in list(seen):
        if "<" in variant:
            seen |= {re.sub("<[^<>]*>", between, variant): None for between in ("", " ")}
    yield from seen
