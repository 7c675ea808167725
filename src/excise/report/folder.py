"""A record with its figures and its page, in a folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from excise.report.frontier import series
from excise.report.page import page
from excise.report.plots import plot_frontier, plot_volcano
from excise.report.record import Record
from excise.storage.files import new_folder

PAGE = "index.html"
FRONTIER = "frontier"
SUFFIXES = ("svg", "png")


def write_report(record: Record, folder: str | os.PathLike) -> None:
    """Writes a record, figures of it as SVG and PNG, and a page to read, into a new or empty folder.

    The same record gives the same bytes. `index.html` needs none of the other files and no network.

    Raises:
        FileExistsError: if the folder holds something.
    """
    with new_folder(folder) as partial:
        record.save(partial)
        for name, entry in figures(record.state).items():
            for path in (partial / f"{name}.{suffix}" for suffix in SUFFIXES):
                if entry is None:
                    plot_frontier(record.state, path)
                else:
                    plot_volcano(entry, record.enrichments[entry["file"]], path)
        (partial / PAGE).write_text(page(record), encoding="utf-8")


def figures(state: Mapping[str, Any]) -> dict[str, Mapping[str, Any] | None]:
    """The figures of a record by the names of their files, without a suffix.

    Returns:
        The table that each shows; `None` for the one of what is kept and what is left, which comes first.
    """
    shown = {FRONTIER: None} if series(state) else {}
    return shown | {Path(e["file"]).stem.replace("enrichment", "volcano", 1): e for e in state["enrichments"]}
