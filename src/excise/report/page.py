"""Page of a record, which needs nothing else: no network, no other file."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from excise.bottlenecks.registry import kind_title
from excise.report.attack_lines import curved
from excise.report.attacks import AttackReport
from excise.report.code_data import code_data
from excise.report.context import context
from excise.report.frontier_drawing import series
from excise.report.markdown import shown
from excise.report.plots import plot_frontier, plot_volcano
from excise.report.record import Record
from excise.report.relearning import plot_relearning
from excise.report.sections import file_names
from excise.storage.expected import expects
from excise.storage.extras import require
from excise.storage.files import new_folder
from excise.storage.processes import by_main_process

# In JSON inside a script element, whatever a text holds must not end the element or begin another.
UNSAFE = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"})


def page(record: Record) -> str:
    """The page as HTML. Whatever comes from the record is shown as text and never run.

    A content security policy in it forbids every request and every script but the page's own.
    """
    script, style = _file("volcano.js"), _file("page.css")
    sha = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{sha}'"
    policy += "; base-uri 'none'; form-action 'none'"
    data = embedded(code_data(record)) if record.enrichments else None
    return _template().render(**context(record), script=script, style=style, policy=policy, code_data=data)


def embedded(value: Any) -> str:
    r"""JSON that may stand in a script element.

    Example:
        >>> embedded(["</script>"])
        '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(UNSAFE)


def _file(name: str) -> str:
    return files("excise.report").joinpath("templates").joinpath(name).read_text(encoding="utf-8")


@cache
def _template():
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("excise.report"),
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["kind_title"] = kind_title
    return environment.get_template("index.html")


PAGE = "index.html"
FRONTIER = "frontier"
SUFFIXES = ("svg", "png")


@expects("record", "folder")
@by_main_process("folder")
def write_report(record: Record, folder: str | os.PathLike, *, full: bool = False) -> None:
    """Writes a record, figures of it as SVG and PNG, and a page to read, into a new or empty folder.

    The same record gives the same bytes. `index.html` needs none of the other files and no network.

    Args:
        record: the evidence; of a private request, what `Record.public` leaves of it.
        folder: where there is nothing, or an empty folder.
        full: whether words and texts of private requests are written too, for their owner.

    Raises:
        FileExistsError: if the folder holds something.
        MissingExtraError: if the extra `report` is not installed.
    """
    require("report", purpose="write_report")
    record = record if full else record.public()
    with new_folder(folder) as partial:
        record.save(partial)
        for name, entry in figures(record).items():
            for path in (partial / f"{name}.{suffix}" for suffix in SUFFIXES):
                if entry is None:
                    plot_frontier(record.measured, path, record.in_force)
                elif isinstance(entry, AttackReport):
                    plot_relearning(entry, path)
                else:
                    plot_volcano(entry, record.enrichments[entry["file"]], path)
        (partial / PAGE).write_text(page(record), encoding="utf-8")


def figures(record: Record) -> dict[str, Mapping[str, Any] | AttackReport | None]:
    """The figures of a record by the names of their files, without a suffix.

    Returns:
        The table that each shows, or the attacks of which it shows the relearning; `None` for the one of what is kept
        and what is left, which comes first.
    """
    shown: dict[str, Any] = {FRONTIER: None} if series(record.measured) else {}
    attacked = [report for report in record.attacks if curved(report)]
    names = file_names([report.topic for report in attacked])
    shown |= {_figure_of(name, "relearning"): report for name, report in zip(names, attacked, strict=True)}
    return shown | {_figure_of(entry["file"], "volcano"): entry for entry in record.state["enrichments"]}


def _figure_of(table: str, kind: str) -> str:
    """The name of a figure, by that of a table of the same topic."""
    return Path(table).stem.replace("enrichment", kind, 1)
