"""Frontier: accuracies on a test set as more and more of a class's pairs are masked."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from excise.storage.display import HtmlTable, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, checked_fields, read

if TYPE_CHECKING:
    import pandas


class Point(NamedTuple):
    """One step of a frontier.

    Args:
        count: what was swept: N_a pairs, or N_e examples; 0 for the model as it was.
        removed: number of pairs masked.
        forget: accuracy on the forget class, a share of its examples.
        retain: accuracy on all other classes.
    """

    count: int  # type: ignore[assignment]  # in a point nobody counts values
    removed: int
    forget: float
    retain: float


@dataclass(frozen=True, repr=False)
class Frontier(HtmlTable):
    """Accuracies on a test set as more and more of a class's pairs are masked.

    Attributes:
        topic: the class.
        method: how pairs were chosen.
        points: the model as it was, then one for each count, ascending.
        examples: number of test examples of the class, and of all others.
        thresholds: of the last selection.
        states: of each point, the digest of all codes that are removed at it; empty in frontiers of version 0.1.
    """

    topic: str
    method: str
    points: tuple[Point, ...]
    examples: tuple[int, int]
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    states: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first, last = self.points[0], self.points[-1]
        return (
            f"Frontier: {shortened(self.topic)!r} by {shortened(self.method)}, {len(self.points)} points, up to "
            f"{last.removed:,} pairs removed; accuracy {first.forget:.3f} to {last.forget:.3f} on the class, "
            f"{first.retain:.3f} to {last.retain:.3f} on others"
        )

    def share_left(self, point: Point, of: float = 1.0) -> tuple[float, float]:
        """What is left of the accuracies before, on the class and on all others; not a number where these were 0.

        Args:
            point: one of the frontier's.
            of: what the whole is: 1, or 100 for percent.
        """
        before = self.points[0]
        forget = of * point.forget / before.forget if before.forget else nan
        return forget, of * point.retain / before.retain if before.retain else nan

    def relative_change(self, point: Point) -> float:
        """Change of retain accuracy since before, in percent of it (table 2)."""
        return 100 * (self.share_left(point)[1] - 1)

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a point, with `change`, the relative change of retain accuracy in percent."""
        import pandas

        rows = [point._asdict() | {"change": self.relative_change(point)} for point in self.points]
        return pandas.DataFrame(rows).assign(topic=self.topic, method=self.method)

    def __str__(self) -> str:
        head = (
            f"Class {self.topic!r}, pairs chosen by {self.method}; test examples: {self.examples[0]} of the class, "
            f"{self.examples[1]} of others.\n{'count':>8} {'pairs':>8} {'forget':>8} {'retain':>8} {'change':>8}"
        )
        rows = (
            f"{point.count:>8} {point.removed:>8} {100 * point.forget:>7.2f}% {100 * point.retain:>7.2f}% "
            f"{self.relative_change(point):>+7.2f}%"
            for point in self.points
        )
        return "\n".join([head, *rows])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        state = asdict(self)
        return state if self.states else {key: value for key, value in state.items() if key != "states"}

    @by_main_process("path")
    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to a JSON file."""
        with new_file(path) as partial:
            partial.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "Frontier":
        """What `to_dict` gave, or what a record holds."""
        points = checked(checked(state, dict, "it").get("points"), list[Sequence[Any]], "points")
        points = [Point(*checked(point, tuple[int, int, float, float], "points")) for point in points]
        state = checked_fields({**state, "points": points}, cls)
        changes = {"points": tuple(points), "examples": tuple(state["examples"])}
        return cls(**{**state, **changes, "states": tuple(state.get("states", ()))})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Frontier":
        """What `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        try:
            return cls.from_dict(read(path))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} is no saved frontier: {error}") from error
