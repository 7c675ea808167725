"""Enrichment of codes in a topic: a row a code, with frequencies with the topic and without, tests and q-values."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import numpy as np

from excise.bottlenecks.identity import Identity
from excise.codes.count_table import CountTable
from excise.codes.selection import Selection, random_like
from excise.data.inputs import Positions, check_positions
from excise.statistics import EnrichmentTest, benjamini_hochberg, chi_squared, fisher, log2_ratio, mcnemar
from excise.storage.display import MOST_ROWS, HtmlTable, few, printable, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, parsed

if TYPE_CHECKING:
    import pandas

__all__ = ["CountTable", "Enrichment", "Method", "Positions", "Selection", "enrich_counts", "random_like"]

Method = Literal["mcnemar", "fisher", "chi2", "paper"]

# Shares of examples are compared with this much slack: 15/500 - 10/500 is a little less than 0.01 in floating point.
ROUNDING = 1e-12

# The key of the settings in a saved table; its name is of version 0.1.
METADATA_KEY = b"excise.enrichment"
IDENTITY_KEY = b"excise.identity"


@dataclass(frozen=True, eq=False, repr=False)
class Enrichment(HtmlTable):
    """How each code that fires at all is spread over target and control: one row per code and site.

    Attributes:
        site: name of the bottleneck, str of shape (rows,), e.g. "encoder.block.2".
        code: code id at that site, int64.
        target_count: target examples in which it fires, int64.
        control_count: control examples in which it fires, int64.
        target_frequency: share of target examples, float64 in [0, 1] (CodeUnlearn, eq. 9, per example).
        control_frequency: share of control examples (eq. 10).
        log2_ratio: positive where the target has it more often (eq. 11).
        statistic: of the test that `method` names.
        pvalue: of one code alone, two-sided.
        qvalue: Benjamini-Hochberg over all rows of all sites.
        method: "mcnemar", "fisher", "chi2" or "paper".
        top_s: how many codes per token were counted (the paper's S').
        positions: "topic" if only the topic word's own tokens were counted, "class_token" if only that, else "all".
        num_target: number of target examples.
        num_control: number of control examples.
        retain_frequency: share of retain examples in which it fires, or None.
        identity: of the model whose codes were counted, or None.
    """

    site: np.ndarray
    code: np.ndarray
    target_count: np.ndarray
    control_count: np.ndarray
    target_frequency: np.ndarray
    control_frequency: np.ndarray
    log2_ratio: np.ndarray
    statistic: np.ndarray
    pvalue: np.ndarray
    qvalue: np.ndarray
    method: Method
    top_s: int
    positions: Positions
    num_target: int
    num_control: int
    retain_frequency: np.ndarray | None = None
    identity: Identity | None = None

    def __len__(self) -> int:
        return len(self.code)

    def __repr__(self) -> str:
        head = (
            f"Enrichment: {len(self):,} codes seen in {self.num_target} targets and {self.num_control} controls; "
            f"method={self.method}, top_s={self.top_s}, positions={self.positions}"
        )
        if not len(self):
            return head
        rows = self._surest(10).drop(columns=["target_frequency", "control_frequency", "statistic"])
        rows["site"] = rows["site"].map(lambda site: shortened(site, 30))
        return f"{head}\n{rows.to_string(index=False, float_format=lambda x: f'{x:.3g}')}"

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a data frame, one column per attribute that has a value per code."""
        import pandas

        return pandas.DataFrame(self._columns())

    def _surest(self, count: int) -> "pandas.DataFrame":
        """The rows of the smallest q, then of the largest ratio."""
        best = np.lexsort((self.code, self.site, -np.abs(self.log2_ratio), self.qvalue))[:count]
        return self.to_pandas().iloc[best]

    def _notebook_rows(self) -> "pandas.DataFrame":
        return self._surest(MOST_ROWS)

    @by_main_process("path")
    def save(self, path: str | os.PathLike) -> None:
        """Write the rows as Parquet, with method and settings in its metadata; nothing is left half-written."""
        import pyarrow
        import pyarrow.parquet

        identity = None if self.identity is None else self.identity.to_dict()
        metadata = {METADATA_KEY: json.dumps(self._settings()), IDENTITY_KEY: json.dumps(identity)}
        table = pyarrow.table(self._columns()).replace_schema_metadata(metadata)
        with new_file(path) as partial:
            pyarrow.parquet.write_table(table, partial)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Enrichment":
        """The table that `save` wrote.

        Raises:
            ValueError: the file is Parquet of another kind.
        """
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        settings = (table.schema.metadata or {}).get(METADATA_KEY)
        if settings is None:
            raise ValueError(
                f"{os.fspath(path)!r} is not an enrichment table: expected one that Enrichment.save wrote."
            )
        about = checked(parsed(settings, os.fspath(path)), dict, "its settings")
        hints = get_type_hints(cls).keys() - {"identity"}
        others = {name for name in (*table.column_names, *about) if name not in hints}
        needed = {name for name in hints if name != "retain_frequency"}
        if lost := (needed - set(table.column_names) - about.keys()) | others:
            raise ValueError(f"{os.fspath(path)!r} is no table of enrichment: {printable(few(sorted(lost)))} is amiss.")
        for name in about:
            checked(about[name], str if name in ("method", "positions") else int, name)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        made_on = parsed(table.schema.metadata.get(IDENTITY_KEY, "{}"), os.fspath(path))  # null: of no model
        identity = None if made_on is None else Identity.from_dict(made_on)
        return cls(**columns | {"site": columns["site"].astype(np.str_)}, **about, identity=identity)

    def select(
        self,
        *,
        q: float = 0.05,
        effect: float = 0.0,
        count: int | None = None,
        max_retain_ratio: float | None = None,
    ) -> Selection:
        """The codes enriched in the target.

        A code is kept when its ratio is positive, its q-value is at most `q`, and the other conditions hold. With
        method "paper" it is the p-value that must be at most `q`, uncorrected (CodeUnlearn, section 3.5).

        Args:
            q: highest false discovery rate, in (0, 1].
            effect: least difference target_frequency - control_frequency, a share of examples in [0, 1].
            count: keep at most this many, those of the smallest p, then of the largest ratio.
            max_retain_ratio: highest retain_frequency, as a multiple of target_frequency.

        Returns:
            The codes with these thresholds; possibly none.

        Raises:
            ValueError: a threshold is out of range, or `max_retain_ratio` is given and retain was not counted.
        """
        check_thresholds(q, effect, max_retain_ratio)
        if count is not None and count < 1:
            raise ValueError(f"count={count}: expected at least 1, or None for no limit.")

        significance = self.pvalue if self.method == "paper" else self.qvalue
        keep = (self.log2_ratio > 0) & (significance <= q)
        keep &= self.target_frequency - self.control_frequency >= effect - ROUNDING
        if max_retain_ratio is not None:
            if self.retain_frequency is None:
                raise ValueError("max_retain_ratio needs retain frequencies; count a retain set too, or leave it out.")
            keep &= self.retain_frequency <= max_retain_ratio * self.target_frequency + ROUNDING
        rows = np.flatnonzero(keep)
        best = np.lexsort((self.code[rows], self.site[rows], -self.log2_ratio[rows], self.pvalue[rows]))
        rows = rows[best][:count]
        return Selection(
            {str(site): self.code[rows][self.site[rows] == site] for site in np.unique(self.site[rows])},
            {**self._settings(), "q": q, "effect": effect, "count": count, "max_retain_ratio": max_retain_ratio},
            identity=self.identity,
        )

    def _columns(self) -> dict[str, np.ndarray]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def _settings(self) -> dict[str, Any]:
        names = ("method", "top_s", "positions", "num_target", "num_control")
        return {name: getattr(self, name) for name in names}


def check_thresholds(q: float, effect: float, max_retain_ratio: float | None) -> None:
    """Refuses thresholds of `Enrichment.select` that are out of range."""
    if not 0 < q <= 1:
        raise ValueError(f"q={q}: expected a rate above 0 and at most 1, such as 0.05.")
    if not 0 <= effect <= 1:
        raise ValueError(f"effect={effect}: expected a share of examples from 0 to 1, such as 0.01.")
    if max_retain_ratio is not None and not max_retain_ratio >= 0:
        raise ValueError(f"max_retain_ratio={max_retain_ratio}: expected 0 or more, such as 0.25, or None.")


def enrich_counts(
    counts: Mapping[str, CountTable],
    method: Method = "mcnemar",
    *,
    top_s: int,
    positions: Positions,
    identity: Identity | None = None,
) -> Enrichment:
    """Test every code that fires in the target or its control.

    Args:
        counts: for each site, in how many examples its codes fire; the same examples at every site.
        method: "mcnemar" (exact, for paired controls), "fisher" (exact, unpaired), "chi2" (Pearson), or "paper"
            (Pearson's p-values, which `Enrichment.select` then takes without correction, as CodeUnlearn does).
        top_s: how many codes per token were counted; recorded.
        positions: "topic", "class_token" or "all", the tokens that were counted; recorded.
        identity: of the model whose codes were counted; recorded.

    Returns:
        One row per seen code, sites in the order given, with q-values joint over all rows.

    Raises:
        ValueError: no sites, an unknown method, sites that count different sets, or "mcnemar" without pairs.

    Example:
        >>> only_with, only_without = np.array([9, 1, 0]), np.array([0, 1, 0])
        >>> pairs = CountTable(only_with, only_without, 20, 20, only_with, only_without)
        >>> enrich_counts({"encoder.block.2": pairs}, top_s=8, positions="topic").select(q=0.01).codes
        {'encoder.block.2': (0,)}
    """
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}: expected one of {', '.join(get_args(Method))}.")
    check_positions(positions)
    if top_s < 1:
        raise ValueError(f"top_s={top_s}: expected at least 1.")
    if not counts:
        raise ValueError("No counts were given; expected a table for at least one site.")
    sizes = {(table.num_target, table.num_control, table.num_retain) for table in counts.values()}
    if len(sizes) > 1:
        raise ValueError(f"The sites count different sets (target, control, retain): {sorted(sizes, key=str)}.")
    ((num_target, num_control, _),) = sizes

    columns = [_site_columns(site, table, method) for site, table in counts.items()]
    rows = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    return Enrichment(
        **rows,
        qvalue=benjamini_hochberg(rows["pvalue"]),
        method=method,
        top_s=int(top_s),
        positions=positions,
        num_target=int(num_target),
        num_control=int(num_control),
        identity=identity,
    )


def _site_columns(site: str, table: CountTable, method: Method) -> dict[str, np.ndarray]:
    seen = np.flatnonzero(table.target_count + table.control_count)
    target_frequency = table.target_count[seen] / table.num_target
    control_frequency = table.control_count[seen] / table.num_control
    statistic, pvalue = _test(site, table, method, seen)
    columns = {
        "site": np.full(len(seen), site),
        "code": seen,
        "target_count": table.target_count[seen],
        "control_count": table.control_count[seen],
        "target_frequency": target_frequency,
        "control_frequency": control_frequency,
        "log2_ratio": log2_ratio(target_frequency, control_frequency),
        "statistic": statistic,
        "pvalue": pvalue,
    }
    if table.retain_count is not None:
        columns["retain_frequency"] = table.retain_count[seen] / table.num_retain
    return columns


def _test(site: str, table: CountTable, method: Method, seen: np.ndarray) -> EnrichmentTest:
    if method == "mcnemar":
        if table.target_only is None or table.control_only is None:
            raise ValueError(
                f"method='mcnemar' needs target_only and control_only at {site!r}: pair each target with its control, "
                "or use method='fisher'."
            )
        return mcnemar(table.target_only[seen], table.control_only[seen])
    unpaired = fisher if method == "fisher" else chi_squared
    return unpaired(table.target_count[seen], int(table.num_target), table.control_count[seen], int(table.num_control))
