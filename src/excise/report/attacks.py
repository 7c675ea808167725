"""Attack results: what somebody who has the file gets back, beside a model that never saw it, with a verdict."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan, nan
from typing import Any

from excise.storage.display import HtmlTable, pandas_module, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, checked_fields, json_values, read, written

WITHSTOOD, NOT_WITHSTOOD, NOT_MEASURED = "withstood", "not withstood", "not measured"
VERDICTS = (WITHSTOOD, NOT_WITHSTOOD, NOT_MEASURED)
# Of several verdicts, the one that comes first here is that of all.
WORST = (NOT_WITHSTOOD, NOT_MEASURED, WITHSTOOD)

# How scores of each measure are written: what it is called, and digits after the point.
MEASURES = {
    "recall": ("topic recall", 3),
    "accuracy": ("accuracy of the class", 3),
    "probability": ("answer probability", 3),
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
        curve: hits after each step, from step 0, where the attack goes by steps; of answers the sum of probabilities.
        null_curve: the same of the model that never saw it.
        quality: BLEU, accuracy or answer probability elsewhere under this attempt: an attack that breaks the model is
            worth little.
    """

    settings: Mapping[str, Any]
    score: float
    null: float | None = None
    hits: int | None = None
    total: int | None = None
    curve: Sequence[float] = ()
    null_curve: Sequence[float] = ()
    quality: float | None = None


@dataclass(frozen=True, repr=False)
class AttackResult(HtmlTable):
    """What one attack got back of a topic or class.

    Attributes:
        attack: its name.
        measure: what its scores are: `"recall"`, `"accuracy"`, `"probability"` (of answers), `"auc"`, `"rank"`, or
            `"steps"` (how many steps it took to get half back, as a share of what the model that never saw it takes: 1
            is as slow as that).
        score: what the strongest attempt got.
        interval: 95 % interval of the score, or `None` where there is none.
        null: what the strongest attempt got from the null.
        null_is: what the null is: a model that never saw the topic, or a proxy, in words.
        before: the measure of the original, under the same attack where it needs one; `None` where not measured. Of
            `"steps"` the share of cases that it gets without training.
        after: the measure of the model as it was shared, without any attack; of `"steps"` that share; `None` where it
            has none.
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
                f"An attack has measure {self.measure!r} and verdict {self.verdict!r}; expected one of "
                f"{sorted(MEASURES)} and one of {VERDICTS}."
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
        if self.measure not in ("recall", "accuracy", "probability") or any(value is None for value in values):
            return nan
        score, before, after = values
        return (score - after) / (before - after) if before > after else nan  # type: ignore[operator]

    def written(self, value: float | None) -> str:
        """A score as it stands in tables."""
        return "–" if value is None or isnan(value) else f"{value:.{MEASURES[self.measure][1]}f}"

    def without_nan(self) -> "AttackResult":
        """The result itself; where its score, interval or null is no number, one that is not measured and says so."""
        broken = [name for name in ("score", "null") if (value := getattr(self, name)) is not None and isnan(value)]
        broken += ["interval"] if self.interval is not None and any(map(isnan, self.interval)) else []
        if not broken:
            return self
        reason = f"No number came out as its {' and '.join(broken)}, so there is nothing to judge. {self.reason}"
        missing: dict[str, Any] = dict.fromkeys(broken)
        return replace(self, **missing, verdict=NOT_MEASURED, reason=reason)

    def __repr__(self) -> str:
        null = f" ({self.null_is}: {self.written(self.null)})" if self.null is not None else ""
        score = f"{MEASURES[self.measure][0]} {self.written(self.score)}{null}, " if self.score is not None else ""
        return f"AttackResult: {self.attack}: {score}{self.verdict}. {shortened(self.reason, 200)}"

    def row(self) -> dict[str, Any]:
        """The line of this attack in a table, as text."""
        bounds = "" if self.interval is None else f" ({', '.join(map(self.written, self.interval))})"
        shares = self.before, self.after
        if self.measure == "steps":  # before and without the attack there are no steps, but cases
            known = ["–" if share is None or isnan(share) else f"{share:.3f} of cases" for share in shares]
        else:
            known = list(map(self.written, shares))
        return {
            "attack": self.attack,
            "measure": MEASURES[self.measure][0],
            "before": known[0],
            "deleted": known[1],
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
        """Everything as JSON values; what is no number is null."""
        return json_values(asdict(self.without_nan()))

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "AttackResult":
        """What `to_dict` gave."""
        checked(state, dict[str, Any], "it")
        attempts = checked(state.get("attempts"), list[dict[str, Any]], "attempts")
        rows = [{**one, "score": nan if one.get("score", 0) is None else one.get("score")} for one in attempts]
        made = tuple(Attempt(**checked_fields(one, Attempt)) for one in rows)
        made = tuple(replace(one, curve=tuple(one.curve), null_curve=tuple(one.null_curve)) for one in made)
        return cls(**checked_fields({**state, "attempts": ()}, cls) | {"attempts": made})


@dataclass(frozen=True, repr=False)
class AttackReport(HtmlTable):
    """What several attacks got back of one topic or class, with a verdict on each and on all.

    Attributes:
        topic: the topic in words, or the name of the class.
        depth: how deep the deletion was that was attacked, such as `"codes"`.
        results: one an attack, in the order in which they were run.
        models: digests of `"original"`, `"removed"` and `"never_saw"`; `None` where there was no such model.
        settings: `seed`, `words`, digests of the `data`, which codes of which weights were `removed`, and what each of
            the attacks was set to.
        seconds: time that all attacks took, those of an earlier run that was gone on from included.
    """

    topic: str
    depth: str
    results: tuple[AttackResult, ...]
    models: Mapping[str, str | None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """The worst of all verdicts: withstood are all attacks or none."""
        verdicts = {result.verdict for result in self.results} or {NOT_MEASURED}
        return next(verdict for verdict in WORST if verdict in verdicts)

    @property
    def counts(self) -> dict[str, int]:
        """How many attacks were withstood, were not, and were not measured."""
        return {verdict: sum(result.verdict == verdict for result in self.results) for verdict in VERDICTS}

    @property
    def summary(self) -> str:
        """The counts in words."""
        return ", ".join(f"{number} {verdict}" for verdict, number in self.counts.items() if number) or "no attack"

    @property
    def removed(self) -> int:
        """Number of codes that were removed in the model that was attacked."""
        return (self.settings.get("removed") or {}).get("codes", 0)

    @property
    def notes(self) -> list[str]:
        """What is missing, a sentence each."""
        missing = {
            "original": "There was no original: what was lost, and how much of it came back, is not known.",
            "never_saw": "There was no model that never saw it: what came back is held against the proxy that each "
            "line names, or is not judged.",
        }
        same = {
            ("never_saw", "removed"): "The model that never saw it is the very model that was attacked, which cannot "
            "give back more than itself: such attacks are withstood whatever it knows.",
            ("never_saw", "original"): "The model that never saw it is the original: nothing can be held against it.",
            ("original", "removed"): "The original is the very model that was attacked: nothing was removed.",
        }
        notes = [sentence for role, sentence in missing.items() if self.models.get(role) is None]
        alike = (pair for pair in same if self.models.get(pair[0]) == self.models.get(pair[1]) is not None)
        return notes + [same[pair] for pair in alike]

    def __repr__(self) -> str:
        return f"AttackReport: {shortened(self.topic)!r} ({self.depth}): {self.verdict}; {self.summary}"

    def __str__(self) -> str:
        rows = [result.row() for result in self.results]
        names = ("attack", "measure", "before", "deleted", "attacked", "null", "verdict")
        cells = [names, *([str(row[name]) for name in names] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [" | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
        reasons = [f"{one.attack}: {one.reason}" for one in self.results if one.verdict != WITHSTOOD]
        head = f"Attacks on {self.topic!r}, deleted by {self.depth}: {self.summary}."
        return "\n".join([head, *(line.rstrip() for line in lines), *reasons, *self.notes])

    def rows(self) -> list[dict[str, Any]]:
        """The lines of all attacks, as text."""
        return [result.row() for result in self.results]

    def to_pandas(self) -> Any:
        """One row an attack, as numbers."""
        names = ("attack", "measure", "before", "after", "score", "null", "null_is", "regained", "verdict", "seconds")
        rows = [{"topic": self.topic} | {name: getattr(one, name) for name in names} for one in self.results]
        return pandas_module().DataFrame(rows)

    def _notebook_rows(self) -> Any:
        return pandas_module().DataFrame(self.rows())

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return json_values(vars(self) | {"results": [result.to_dict() for result in self.results]})

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "AttackReport":
        """What `to_dict` gave, or what a record holds."""
        checked(state, dict[str, Any], "it")
        results = checked(state.get("results"), list[dict[str, Any]], "results")
        made = tuple(map(AttackResult.from_dict, results))
        return cls(**checked_fields({**state, "results": ()}, cls) | {"results": made})

    @by_main_process("path")
    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to a JSON file."""
        with new_file(path) as partial:
            partial.write_text(written(self.to_dict()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "AttackReport":
        """What `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        try:
            return cls.from_dict(read(path))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} is no saved report of attacks: {error}") from error
