"""Data of the interactive plot: tens of thousands of codes in few bytes."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from excise.codes.enrichment import Enrichment
from excise.ledger.packing import unpack
from excise.report.markdown import shown
from excise.report.record import Record
from excise.report.volcano import MOST, Volcano, volcano

# What keeps a page below 3 MB: codes drawn in all plots together, codes with tokens and how many of these, and the
# bytes of thumbnails.
POINTS, MEANINGS, TOKENS, THUMBNAIL_BYTES = 60_000, 25_000, 6, 600_000


def code_data(record: Record) -> dict[str, Any]:
    """All that the plot needs, as JSON values: points, tokens and thumbnails.

    Numbers are the base64 of arrays, little-endian: `{"type": "u2", "data": "..."}`.
    """
    sites: dict[str, int] = {}
    plots: list[dict[str, Any]] = []
    drawn: set[tuple[str, int]] = set()
    for entry in record.state["enrichments"]:
        table = record.enrichments[entry["file"]]
        points = volcano(table, entry["selected"], most_drawn(record), entry.get("elsewhere"))
        plots.append(_plot(entry, table, points, sites))
        drawn.update(zip(table.site[points.rows].tolist(), table.code[points.rows].tolist(), strict=True))
    removed = removed_codes(record.state)
    known = [entry for entry in record.state["codes"] if (entry["site"], entry["code"]) in drawn]
    known.sort(key=lambda entry: (entry["site"], entry["code"]) not in removed)  # removed ones first
    return {
        "sites": list(sites),
        "plots": plots,
        "tokens": _tokens([entry for entry in known if entry["tokens"]][:MEANINGS], sites),
        "thumbnails": {f"{sites[entry['site']]}:{entry['code']}": entry["thumbnail"] for entry in _affordable(known)},
    }


def most_drawn(record: Record) -> int:
    """How many codes are drawn of each table at most."""
    return min(MOST, POINTS // max(1, len(record.state["enrichments"])))


def removed_codes(state: Mapping[str, Any]) -> set[tuple[str, int]]:
    """The codes that the tables of a record say were removed."""
    return {
        (site, code)
        for entry in state["enrichments"]
        for site, codes in (*entry["selected"].items(), *entry.get("elsewhere", {}).items())
        for code in unpack(codes)
    }


def packed(values: np.ndarray) -> dict[str, str]:
    """Numbers as base64: floats as 32 bits, others as the shortest unsigned integers that hold them.

    Example:
        >>> packed(np.array([1, 2]))
        {'type': 'u1', 'data': 'AQI='}
    """
    if np.issubdtype(values.dtype, np.floating):
        kind = "f4"
    else:
        highest = int(values.max(initial=0))
        kind = next(kind for kind in ("u1", "u2", "u4") if highest < 256 ** int(kind[1]))
    return {"type": kind, "data": base64.b64encode(values.astype(f"<{kind}").tobytes()).decode()}


def _plot(entry: Mapping[str, Any], table: Enrichment, points: Volcano, sites: dict[str, int]) -> dict[str, Any]:
    for site in np.unique(table.site).tolist():
        sites.setdefault(site, len(sites))
    rows = points.rows
    columns = {
        "site": np.array([sites[site] for site in table.site[rows].tolist()], np.int64),
        "code": table.code[rows],
        "ratio": points.ratio,
        "surety": points.surety,
        "target": table.target_count[rows],
        "control": table.control_count[rows],
        "selected": points.selected.astype(np.int64),
    }
    if points.elsewhere.any():
        columns["elsewhere"] = points.elsewhere.astype(np.int64)
    if table.retain_frequency is not None:
        columns["retain"] = table.retain_frequency[rows]
    about = {key: entry[key] for key in ("topic", "method", "num_target", "num_control")}
    sizes = {"value": points.value, "top": points.top, "total": points.total}
    about["topic"] = shown(about["topic"])
    return about | sizes | {name: packed(values) for name, values in columns.items()}


def _tokens(entries: Sequence[Mapping[str, Any]], sites: Mapping[str, int]) -> dict[str, Any]:
    """Tokens of codes, each name once: those of code i are from `start[i]` to `start[i + 1]`."""
    best = [entry["tokens"][:TOKENS] for entry in entries]
    names = sorted({token for tokens in best for token, _ in tokens})
    place = {name: i for i, name in enumerate(names)}
    return {
        "names": list(map(shown, names)),
        "site": packed(np.array([sites[entry["site"]] for entry in entries], np.int64)),
        "code": packed(np.array([entry["code"] for entry in entries], np.int64)),
        "start": packed(np.cumsum([0, *map(len, best)])),
        "token": packed(np.array([place[token] for tokens in best for token, _ in tokens], np.int64)),
        "count": packed(np.array([count for tokens in best for _, count in tokens], np.int64)),
    }


def _affordable(entries: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Codes with thumbnails, in this order, as long as there is room for them."""
    left = THUMBNAIL_BYTES
    for entry in entries:
        if "thumbnail" in entry:
            left -= len(entry["thumbnail"])
            if left < 0:
                return
            yield entry
