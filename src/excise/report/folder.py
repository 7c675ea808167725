"""A record with its figures and its page, in a folder."""

import os
from pathlib import Path

from excise.files import new_folder
from excise.report.frontier import series
from excise.report.page import page
from excise.report.plots import plot_frontier, plot_volcano
from excise.report.record import Record

PAGE = "index.html"


def write_report(record: Record, folder: str | os.PathLike) -> None:
    """Writes a record, figures of it as SVG and PNG, and a page to read, into a new or empty folder.

    The same record gives the same bytes. `index.html` needs none of the other files and no network.

    Raises:
        FileExistsError: if the folder holds something.
    """
    with new_folder(folder) as partial:
        record.save(partial)
        for entry in record.state["enrichments"]:
            name = Path(entry["file"]).stem.replace("enrichment", "volcano", 1)
            for suffix in ("svg", "png"):
                plot_volcano(entry, record.enrichments[entry["file"]], partial / f"{name}.{suffix}")
        if series(record.state):
            for suffix in ("svg", "png"):
                plot_frontier(record.state, partial / f"frontier.{suffix}")
        (partial / PAGE).write_text(page(record), encoding="utf-8")
