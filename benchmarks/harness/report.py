"""Results of all benchmarks: a JSON file, and tables with plots in a README between markers."""

import json
from pathlib import Path
from typing import Any

START, END = "<!-- results: written by run.py -->", "<!-- end of results -->"


class ResultsFile:
    """`results.json`: a section for each benchmark, with the machine and what it ran on.

    Args:
        path: the file; what it holds is kept, but for the sections that are written anew.
    """

    def __init__(self, path: Path):
        self.path = path
        self.data: dict[str, Any] = {"machine": {}, "peers": {}, "benchmarks": {}}
        if path.is_file():
            self.data |= json.loads(path.read_text(encoding="utf-8"))

    def write(self, name: str, section: dict[str, Any], about: dict[str, Any]) -> None:
        """Writes the section of a benchmark, and what is true of all."""
        self.data |= about
        self.data["benchmarks"][name] = section
        text = json.dumps(self.data, indent=1, ensure_ascii=False)
        self.path.write_text(text + "\n", encoding="utf-8")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, each with its benchmark's command."""
        sections = self.data["benchmarks"].values()
        return [row | {"command": section["command"]} for section in sections for row in section["rows"]]


def number(value: float | None, unit: str) -> str:
    """A number as a table shows it.

    >>> number(0.01234, "s"), number(1234.5, "MB"), number(None, "")
    ('0.012 s', '1,234 MB', '-')
    """
    if value is None:
        return "-"
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"
    return f"{digits} {unit}".strip()


def timing(row: dict[str, Any], name: str | None) -> str:
    """Median and minimum of a row's timings of a name."""
    values = row["seconds"].get(name)
    return f"{number(values['median'], 's')} ({number(values['minimum'], 's')})" if values else "-"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    cells = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells]


def reach_table(rows: list[dict[str, Any]]) -> list[str]:
    """What is to be reached, what was, and how to measure it again."""
    lines = [
        [
            row["what"],
            timing(row, row["ours"]),
            " ".join(filter(None, [row["against"], timing(row, row["against"]) if row["against"] else ""])) or "-",
            f"**{number(row['value'], row['unit'])}**",
            spread_of(row),
            row["reach"],
            "yes" if row["passed"] else "no" if row["value"] is not None else "not measured",
            row["note"],
            f"`{row['command']}`",
        ]
        for row in rows
        if row["reach"]
    ]
    header = ["What", "excise, median (minimum)", "against", "number", "rounds", "reach", "reached", "note", "command"]
    return table(header, lines)


def told_table(rows: list[dict[str, Any]]) -> list[str]:
    """What is measured beside, without a number to reach; and what could not be measured."""
    lines = [
        [row["what"], f"**{number(row['value'], row['unit'])}**", spread_of(row), row["against"] or "-", row["note"]]
        for row in rows
        if not row["reach"] and not row["peer"]
    ]
    return table(["What", "number", "rounds", "against", "note"], lines)


def peer_table(rows: list[dict[str, Any]]) -> list[str]:
    """Excise beside other libraries, and who is faster."""
    lines = []
    for row in rows:
        if not row["peer"]:
            continue
        value = row["value"]
        if value is None:
            faster = "not measured"
        elif row["low"] is not None and row["low"] < 1 < row["high"]:
            faster = "none (rounds differ)"
        else:
            faster = "excise" if value < 1 else "**the peer**"
        shown = [timing(row, row["ours"]), timing(row, row["against"])]
        lines.append([row["what"], row["against"], *shown, number(value, "x"), spread_of(row), faster, row["note"]])
    header = ["What", "peer", "excise, median (minimum)", "peer, median (minimum)", "excise over peer", "rounds"]
    return table([*header, "less is used by", "like for like?"], lines)


def spread_of(row: dict[str, Any]) -> str:
    """The lowest and highest of the rounds."""
    if row["low"] is None:
        return "-"
    return f"{number(row['low'], '')} to {number(row['high'], '')}"


def provenance(data: dict[str, Any]) -> list[str]:
    """Where the numbers come from, in a few lines."""
    machine, sections = data["machine"], data["benchmarks"]

    def each(key: str) -> str:
        values = sorted({str(section[key]) for section in sections.values()})
        return ", ".join(values)

    dates = sorted(section["date"] for section in sections.values())
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    instructions = ", ".join(machine.get("instructions", [])) or "none of note"
    loads = [load for section in sections.values() for load in section["load"]]
    tiny = any(section["tiny"] for section in sections.values())
    return [
        *(["**Sizes for a test of the scripts: these numbers say nothing.**", ""] if tiny else []),
        f"Commit {each('commit')}; {dates[0]} to {dates[-1]}; seed {each('seed')}; {each('threads')} threads.",
        "",
        f"{machine.get('processor')}, {machine.get('cores')} cores ({instructions}); {machine.get('system')}; "
        f"Python {machine.get('python')}; {versions}.",
        "",
        f"Load of the machine (a minute's mean, before and after each benchmark): {min(loads):g} to {max(loads):g}; "
        "a benchmark's own threads are in it.",
    ]


def write_readme(path: Path, results: ResultsFile, plots: list[str]) -> None:
    """Writes tables and plots between the markers of a README.

    Args:
        path: the README; it has both markers.
        results: what to show.
        plots: files of plots, relative to it.

    Raises:
        ValueError: if the README lacks a marker.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{path} must have the lines {START!r} and {END!r} once each. Put them back.")
    rows = results.rows
    parts = [
        START,
        "",
        *provenance(results.data),
        "",
        "## Numbers to reach",
        "",
        *reach_table(rows),
        "",
        "## Beside other libraries",
        "",
        *peer_table(rows),
        "",
        "## Measured beside",
        "",
        *told_table(rows),
        "",
        *(f"![{Path(plot).stem}]({plot})" for plot in plots),
        "",
        END,
    ]
    before, _, rest = text.partition(START)
    path.write_text(before + "\n".join(parts) + rest.partition(END)[2], encoding="utf-8")
