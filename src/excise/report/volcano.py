"""Volcano plot: its points, how much more often each code fires with the topic against how sure that is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from excise.codes.enrichment import Enrichment
from excise.ledger.packing import unpack

# Of more codes than this, the surest are drawn and others thinned out: one place is that of many of them.
MOST = 30_000


class Volcano(NamedTuple):
    """Codes in the plot, the surest first.

    Args:
        rows: their rows in the table, int64 `(codes,)`.
        ratio: log2 of how much more often they fire with the topic, float64 `(codes,)`.
        surety: -log10 of the value that the codes are chosen by; infinite where that is 0.
        selected: whether they were removed, and chosen from this table, bool `(codes,)`.
        elsewhere: whether they were removed, and chosen from another, as of another round, bool `(codes,)`.
        value: what `surety` is of: `"p"` or `"q"`.
        total: number of codes in the table.
    """

    rows: np.ndarray
    ratio: np.ndarray
    surety: np.ndarray
    selected: np.ndarray
    elsewhere: np.ndarray
    value: str
    total: int

    @property
    def endless(self) -> bool:
        """Whether some codes are infinitely sure: a value of 0, as it is smaller than a float can be."""
        return bool(np.isinf(self.surety).any())

    @property
    def top(self) -> float:
        """A height for what is infinitely sure: just above all else."""
        finite = self.surety[np.isfinite(self.surety)]
        highest = float(finite.max()) if len(finite) else 0.0
        return 1.05 * highest + 1.0 if self.endless else highest

    @property
    def heights(self) -> np.ndarray:
        """`surety`, with codes that are infinitely sure at the top."""
        return np.where(np.isfinite(self.surety), self.surety, self.top)


def volcano(
    table: Enrichment, selected: Mapping[str, Any], most: int = MOST, elsewhere: Mapping[str, Any] | None = None
) -> Volcano:
    """The points of a table, all of them or the surest ones and a thinned out rest.

    Args:
        table: one row a code.
        selected: by site, the codes that were removed, packed as in a record.
        most: draw at most so many.
        elsewhere: by site, codes that were removed but not chosen from this table.
    """
    value = "p" if table.method == "paper" else "q"
    with np.errstate(divide="ignore"):
        surety = -np.log10(table.pvalue if value == "p" else table.qvalue)
    surety = np.abs(surety)  # no minus before a zero
    sites, numbers = np.unique(table.site, return_inverse=True)
    chosen, others = np.zeros(len(table), bool), np.zeros(len(table), bool)
    for number, site in enumerate(sites.tolist()):
        for rows, codes in ((chosen, selected), (others, elsewhere or {})):
            if site in codes:
                rows |= (numbers == number) & np.isin(table.code, unpack(codes[site]))
    order = np.lexsort((table.code, numbers, -np.abs(table.log2_ratio), table.pvalue))
    if len(order) > most:
        sure = order[: 2 * most // 3]
        rest = order[len(sure) :]
        order = np.concatenate([sure, rest[np.linspace(0, len(rest) - 1, most - len(sure)).astype(np.int64)]])
    return Volcano(order, table.log2_ratio[order], surety[order], chosen[order], others[order], value, len(table))
