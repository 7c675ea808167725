"""Request to forget: an entry of a ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from excise.storage.display import few, shortened

# By embedding table, the tokens whose rows go.
Rows = Mapping[str, Sequence[int]]


@dataclass(frozen=True, repr=False)
class Request:
    """One request to forget.

    Args:
        id: number of the request in its ledger, from 1.
        kind: `"mask"` (can be undone) or `"delete"` (cannot).
        topic: what was to be forgotten, in words.
        codes: the removed codes by site.
        thresholds: how they were selected.
        data: digests of the sets that they were selected on.
        created: time of the request, UTC, ISO 8601.
        undone: time at which it was undone, or `None` while it is in force.
        private: whether the topic is a label in place of words that nobody is to read; the digests are then keyed.
        rows: by the name of an embedding table, the tokens whose rows belong to the topic: erased by a deletion; of a
            mask, those that go when it becomes one.
    """

    id: int
    kind: str
    topic: str
    codes: dict[str, tuple[int, ...]]
    thresholds: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    created: str = ""
    undone: str | None = None
    private: bool = False
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Request {self.id}: {self.kind} of {shortened(self.topic)!r}, {self.num_codes:,} codes at "
            f"{few(list(self.codes))}{self._of_rows}, {self.created}, {self._standing}"
        )

    @property
    def _of_rows(self) -> str:
        number = self.num_rows
        return f" and {number:,} embedding rows" if number and self.kind == "delete" else ""

    @property
    def num_rows(self) -> int:
        """Number of tokens whose embedding rows belong to it, over all tables."""
        return sum(map(len, self.rows.values()))

    @property
    def depth(self) -> str:
        """How deep it goes: `"codes"`, `"rows"` (of embeddings too) or `"distilled"`."""
        return "distilled" if "distilled" in self.thresholds else "rows" if self.rows else "codes"

    @property
    def _standing(self) -> str:
        """`"in force"`, or when it was undone."""
        return f"undone {self.undone}" if self.undone else "in force"

    @property
    def num_codes(self) -> int:
        """Number of removed codes over all sites."""
        return sum(len(codes) for codes in self.codes.values())

    @property
    def taken_out(self) -> int:
        """Number of its codes that were deleted and are no longer in the model, which was compacted."""
        return self.thresholds.get("taken_out", 0)
