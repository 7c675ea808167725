"""Sweep: scores of a topic forgotten at each S', the paper's figures 3 to 5."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from excise.codes.selection import Selection
from excise.report.measures import FIXED, FORGET, RETAIN, Condition, measure
from excise.report.results import Evaluation
from excise.storage.display import HtmlTable, few, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, read

if TYPE_CHECKING:
    import pandas

    from excise.report.in_force import InForce


KINDS = {"topic": str, "tested": str, "steps": list[dict], "profile_seconds": float}
# What is printed of a sweep: sets and measures.
TEXT_COLUMNS = ((FORGET, "recall"), (FORGET, "bleu"), (RETAIN, "bleu"))
CLASS_COLUMNS = ((FORGET, "accuracy"), (RETAIN, "accuracy"))
ANSWER_COLUMNS = ((FORGET, "probability"), (RETAIN, "probability"))
OF_KIND = {
    "texts": ("sentences", TEXT_COLUMNS),
    "classes": ("images", CLASS_COLUMNS),
    "answers": ("questions", ANSWER_COLUMNS),
}


@dataclass(frozen=True, repr=False)
class Sweep(HtmlTable):
    """A topic's unlearning at each S'.

    Attributes:
        topic: whose codes were removed.
        tested: the topic that it was evaluated on; the same, but for a test on a synonym.
        evaluations: by S'; the outputs before and of the reference model are those of the first.
        selections: by S', the removed codes and what chose them.
        seconds: by S', to choose the codes once they were counted.
        profile_seconds: to count the codes, for every S' at once.
    """

    topic: str
    tested: str
    evaluations: Mapping[int, Evaluation]
    selections: Mapping[int, Selection]
    seconds: Mapping[int, float]
    profile_seconds: float

    def __repr__(self) -> str:
        tested = f", tested on {shortened(self.tested)!r}" if self.tested != self.topic else ""
        removed = [f"{evaluation.removed:,}" for evaluation in self.evaluations.values()]
        return (
            f"Sweep: {shortened(self.topic)!r}{tested}; S′ = {few(list(self.evaluations), 8)}; codes removed: "
            f"{few(removed, 8)}"
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per S', condition, set and measure.

        The rows of the model before and of the reference model, which no S' changes, have `top_s` 0. `change` is in
        percent of the score before, `drop` is the normalised one (0 at the model before, 100 at the reference model).
        """
        import pandas

        rows = []
        for i, (top_s, evaluation) in enumerate(self.evaluations.items()):
            for row in evaluation.rows():
                fixed = row["condition"] in FIXED
                if i == 0 or not fixed:
                    rows.append({"topic": self.topic, "tested": self.tested, "top_s": 0 if fixed else top_s} | row)
        return pandas.DataFrame(rows)

    def __str__(self) -> str:
        where = f"{self.topic!r}" + (f", tested on {self.tested!r}" if self.tested != self.topic else "")
        first = next(iter(self.evaluations.values()))
        sizes = {name: len(texts) for name, texts in first.texts.items()}
        kind, columns = OF_KIND[first.kind]
        places = {FORGET: "with the topic", RETAIN: "without"}
        lines = [
            f"Topic {where}: {sizes[FORGET]} held-out {kind} with the topic, {sizes[RETAIN]} without. "
            f"Codes counted in {self.profile_seconds:.1f} s. In parentheses: random codes.",
            _line("", "", (f"{places[dataset]:^17}" for dataset, _ in columns), ""),
            _line("S′", "codes", (f"{measure(metric).label:^17}" for _, metric in columns), "s"),
        ]
        for top_s, evaluation in (0, first), *self.evaluations.items():
            cells = (
                _with_control(evaluation, Condition.AFTER if top_s else Condition.BEFORE, *column) for column in columns
            )
            seconds = f"{self.seconds[top_s]:5.2f}" if top_s else ""
            lines.append(_line(top_s or "original", evaluation.removed if top_s else 0, cells, seconds))
        return "\n".join(lines)

    @by_main_process("path")
    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to a JSON file."""
        state = {
            "topic": self.topic,
            "tested": self.tested,
            "profile_seconds": self.profile_seconds,
            "steps": [
                {
                    "top_s": top_s,
                    "seconds": self.seconds[top_s],
                    "selection": self.selections[top_s].to_dict(),
                    "evaluation": evaluation.to_dict(),
                }
                for top_s, evaluation in self.evaluations.items()
            ],
        }
        with new_file(path) as partial:
            partial.write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Sweep":
        """What `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        try:
            state = read(path)
            for key, kind in KINDS.items():
                checked(checked(state, dict, "it").get(key), kind, key)
            steps = {checked(step.get("top_s"), int, "top_s"): step for step in state["steps"]}
            return cls(
                topic=state["topic"],
                tested=state["tested"],
                evaluations={top_s: Evaluation.from_dict(step.get("evaluation")) for top_s, step in steps.items()},
                selections={top_s: Selection.from_dict(step.get("selection")) for top_s, step in steps.items()},
                seconds={top_s: checked(step.get("seconds"), float, "seconds") for top_s, step in steps.items()},
                profile_seconds=state["profile_seconds"],
            )
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} is no sweep that `Sweep.save` wrote: {error}") from error


def sweep_steps(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    """The evaluations of a record that are steps of sweeps, by topic, ascending: those that have an S'."""
    steps: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if "top_s" in evaluation.settings:
            steps.setdefault(evaluation.topic, []).append(evaluation)
    return {topic: sorted(of_topic, key=lambda step: step.settings["top_s"]) for topic, of_topic in steps.items()}


def sweep_rows(steps: Sequence[Evaluation], now: "InForce") -> dict[str, Any]:
    """A table of the steps of a sweep: `topic`, `labels` of the scores, and `rows`.

    Each row has `top_s` (`"before"` for the model before), `codes`, `cells`, in which random codes stand in
    parentheses, and `in_force`, whether just these codes are removed in the model.
    """
    names = [(dataset, name) for dataset in (FORGET, RETAIN) if (name := steps[0].telling(dataset))]
    places = {FORGET: "with the topic", RETAIN: "all else"}
    first = [_with_control(steps[0], Condition.BEFORE, *name) for name in names]
    rows: list[dict[str, Any]] = [{"top_s": "before", "codes": 0, "cells": first, "in_force": False}]
    for step in steps:
        cells = [_with_control(step, Condition.AFTER, *name) for name in names]
        about = {"top_s": step.settings["top_s"], "codes": step.removed, "in_force": now.is_of(step)}
        rows.append(about | {"cells": cells})
    labels = [f"{measure(name).label}, {places[dataset]}" for dataset, name in names]
    return {"topic": steps[0].topic, "labels": labels, "rows": rows}


def _line(top_s: int | str, codes: int | str, cells: Iterable[str], seconds: str) -> str:
    return f"{top_s:>8} | {codes:>6} | {' | '.join(f'{cell:<17}' for cell in cells)} | {seconds:>5}".rstrip()


def _with_control(evaluation: Evaluation, condition: str, dataset: str, metric: str) -> str:
    """A score, and in parentheses what random codes leave of it."""
    text = evaluation.score(metric, dataset, condition).text
    if condition == Condition.AFTER and Condition.RANDOM in evaluation.conditions:
        text += f" ({evaluation.score(metric, dataset, Condition.RANDOM).text})"
    return text
