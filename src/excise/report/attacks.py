"""Attack results: what somebody who has the file gets back, beside a model that never saw it, with a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import nan
from typing import Any

from excise.storage.display import HtmlTable, pandas_module, shortened
from excise.storage.strict_json import checked, checked_fields

WITHSTOOD, NOT_WITHSTOOD, NOT_MEASURED = "withstood", "not withstood", "not measured"
VERDICTS = (WITHSTOOD, NOT_WITHSTOOD, NOT_MEASURED)

# How scores of each measure are written: what it is called, and digits after the point.
MEASURES = {
    "recall": ("topic recall", 3),
    "accuracy": ("accuracy of the class", 3),
    "auc": ("AUC", 3),
    "rank": ("rank", 0),
    "steps": ("steps against never saw it", 2),
}


@dataclass(frozen=True)
class Attempt:
    """One try of an attacker.

    Attributes:
        settings: what was tried, as `{"sentences": 8, "seed": 0}`.
        score: what came back, in the measure of the attack.
        null: what the same try gets from the model that never saw it; `None` where that was not tried.
        hits: how many of `total` cases came back, where the measure is a share.
        total: the number of cases.
        curve: hits after each step, from step 0, where the attack goes by steps.
        null_curve: the same of the model that never saw it.
        quality: BLEU or accuracy elsewhere under this attempt: an attack that breaks the model is worth little.
    """

    settings: Mapping[str, Any]
    score: float
    null: float | None = None
    hits: int | None = None
    total: int | None = None
    curve: Sequence[int] = ()
    null_curve: Sequence[int] = ()
    quality: float | None = None


@dataclass(frozen=True, repr=False)
class AttackResult(HtmlTable):
    """What one attack got back of a topic or class.

    Attributes:
        attack: its name.
        measure: what its scores are: `"recall"`, `"accuracy"`, `"auc"`, `"rank"`, or `"steps"` (how many steps it took
            to get half back, as a share of what the model that never saw it takes: 1 is as slow as that).
        score: what the strongest attempt got.
        interval: 95 % interval of the score, or `None` where there is none.
        null: what the strongest attempt got from the null.
        null_is: what the null is: a model that never saw the topic, or a proxy, in words.
        before: the measure of the original, under the same attack where it needs one; `None` where not measured.
        after: the measure of the model as it was shared, without any attack; `None` where it has none.
        attempts: all that was tried.
        verdict: `"withstood"`, `"not withstood"` or `"not measured"`, by the rule that the attack states.
        reason: the rule, and what it was applied to, in a sentence.
        seconds: time that the attack took.
        details: further figures of the attack's own.
    """

    attack: str
    measure: str
    score: float | None
    interval: Sequence[float] | None
    null: float | None
    null_is: str
    before: float | None
    after: float | None
    attempts: tuple[Attempt, ...]
    verdict: str
    reason: str
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.measure not in MEASURES or self.verdict not in VERDICTS:
            raise ValueError(
                f"measure is {self.measure!r} and verdict {self.verdict!r}; expected one of {sorted(MEASURES)} and one "
                f"of {VERDICTS}."
            )

    @classmethod
    def not_measured(cls, attack: str, measure: str, reason: str, **known: Any) -> "AttackResult":
        """The result of an attack that could not be run, or says nothing; `reason` tells what is missing."""
        empty: dict[str, Any] = {"score": None, "interval": None, "null": None, "null_is": "", "before": None}
        empty |= {"after": None, "attempts": ()}
        return cls(attack, measure, **empty | known, verdict=NOT_MEASURED, reason=reason)

    @property
    def regained(self) -> float:
        """Which share of what was lost the strongest attempt brought back; not a number where nothing was lost."""
        values = (self.score, self.before, self.after)
        if self.measure not in ("recall", "accuracy") or any(value is None for value in values):
            return nan
        score, before, after = values
        return (score - after) / (before - after) if before > after else nan  # type: ignore[operator]

    def written(self, value: float | None) -> str:
        """A score as it stands in tables."""
        return "–" if value is None else f"{value:.{MEASURES[self.measure][1]}f}"

    def __repr__(self) -> str:
        null = f" ({self.null_is}: {self.written(self.null)})" if self.null is not None else ""
        score = f"{MEASURES[self.measure][0]} {self.written(self.score)}{null}, " if self.score is not None else ""
        return f"AttackResult: {self.attack}: {score}{self.verdict}. {shortened(self.reason, 200)}"

    def row(self) -> dict[str, Any]:
        """The line of this attack in a table, as text."""
        bounds = "" if self.interval is None else f" ({', '.join(map(self.written, self.interval))})"
        return {
            "attack": self.attack,
            "measure": MEASURES[self.measure][0],
            "before": self.written(self.before),
            "deleted": self.written(self.after),
            "attacked": self.written(self.score) + bounds,
            "null": self.written(self.null) + (f" ({self.null_is})" if self.null is not None else ""),
            "attempts": len(self.attempts),
            "seconds": round(self.seconds),
            "verdict": self.verdict,
        }

    def to_pandas(self) -> Any:
        """One row an attempt: its settings, score, null, hits and quality elsewhere."""
        rows = [
            {**one.settings, **{k: getattr(one, k) for k in ("score", "null", "hits", "total", "quality")}}
            for one in self.attempts
        ]
        return pandas_module().DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(replace(self, interval=self.interval and tuple(self.interval)))

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "AttackResult":
        """What `to_dict` gave."""
        checked(state, dict[str, Any], "it")
        attempts = checked(state.get("attempts"), list[dict[str, Any]], "attempts")
        made = tuple(Attempt(**checked_fields(one, Attempt)) for one in attempts)
        return cls(**checked_fields({**state, "attempts": ()}, cls) | {"attempts": made})
