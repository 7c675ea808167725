"""Tables in Markdown."""

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up in plain text too. A cell's own bars are escaped and its line breaks are spaces.

    Args:
        header: names of the columns.
        rows: as many cells each.

    Example:
        >>> print(markdown(["S'", "codes"], [["8", "16"]]))
        | S' | codes |
        |----|-------|
        | 8  | 16    |
    """
    cells = [[" ".join(str(cell).replace("|", r"\|").split()) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
