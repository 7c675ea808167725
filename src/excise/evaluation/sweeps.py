"""What an unlearning does at each S': the paper's figures 3 to 5."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.codes.finder import CodeFinder
from excise.codes.search import Search
from excise.codes.selection import Selection
from excise.data.classes import ClassSets
from excise.data.forget_sets import ForgetSets
from excise.evaluation.classes import evaluate_classes
from excise.evaluation.controls import retain_counts
from excise.evaluation.texts import evaluate
from excise.report.measures import FIXED, Condition, measure
from excise.report.results import SET_LABELS, Evaluation, change, drop, measures
from excise.storage.files import new_file

if TYPE_CHECKING:
    import pandas

# The paper's S' (section 4.2): 1 to 13 times its S.
TOP_S = (8, 24, 40, 56, 72, 88, 104)
# What is printed of a sweep: sets and measures.
TEXT_COLUMNS = (("heldout", "recall"), ("heldout", "bleu"), ("heldout_retain", "bleu"))
CLASS_COLUMNS = (("heldout", "accuracy"), ("heldout_retain", "accuracy"))


@dataclass(frozen=True, repr=False)
class Sweep:
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

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per S', condition, set and measure.

        The rows of the model before and of the reference model, which no S' changes, have `top_s` 0. `change` is in
        percent of the score before, `drop` is the normalised one (0 at the model before, 100 at the reference model).
        """
        import pandas

        rows = []
        for i, (top_s, evaluation) in enumerate(self.evaluations.items()):
            conditions = [c for c in evaluation.scores if i == 0 or c not in FIXED]
            rows += [
                self._row(top_s, c, name, m)
                for c in conditions
                for name in SET_LABELS
                for m in measures(evaluation, name)
            ]
        return pandas.DataFrame(rows)

    def _row(self, top_s: int, condition: str, dataset: str, metric: str) -> dict[str, Any]:
        evaluation, fixed = self.evaluations[top_s], condition in FIXED
        return {
            "topic": self.topic,
            "tested": self.tested,
            "top_s": 0 if fixed else top_s,
            "codes": 0 if fixed else evaluation.removed,
            "condition": condition,
            "set": dataset,
            "examples": len(evaluation.texts[dataset]),
            "metric": metric,
            "score": evaluation.scores[condition][dataset][metric],
            "change": change(evaluation, metric, dataset, condition),
            "drop": drop(evaluation, metric, dataset, condition),
        }

    def plot(self, path: str | os.PathLike, metrics: Sequence[str] | None = None) -> None:
        """Draws the percent change of each measure over S' (figures 3 to 5) into an SVG or PNG file.

        Args:
            path: where to; its suffix decides the format.
            metrics: measures to draw, such as `"bleu"`; all if not given.
        """
        from excise.evaluation.plots import plot_sweep

        plot_sweep(self, path, metrics)

    def __str__(self) -> str:
        where = f"{self.topic!r}" + (f", tested on {self.tested!r}" if self.tested != self.topic else "")
        first = next(iter(self.evaluations.values()))
        sizes = {name: len(texts) for name, texts in first.texts.items()}
        kind, columns = ("images", CLASS_COLUMNS) if first.of_classes else ("sentences", TEXT_COLUMNS)
        places = {"heldout": "with the topic", "heldout_retain": "without"}
        lines = [
            f"Topic {where}: {sizes['heldout']} held-out {kind} with the topic, {sizes['heldout_retain']} without. "
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
                    "evaluation": asdict(evaluation),
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
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            steps = {step["top_s"]: step for step in state["steps"]}
            return cls(
                topic=state["topic"],
                tested=state["tested"],
                evaluations={top_s: evaluation_from(step["evaluation"]) for top_s, step in steps.items()},
                selections={top_s: Selection.from_dict(step["selection"]) for top_s, step in steps.items()},
                seconds={top_s: step["seconds"] for top_s, step in steps.items()},
                profile_seconds=state["profile_seconds"],
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)!r} is no sweep that `Sweep.save` wrote: {error!r}.") from error


def sweep(
    finder: CodeFinder,
    topic: ForgetSets,
    *,
    top_s: Iterable[int] = TOP_S,
    preset: str | Search | Sequence[Search] = "default",
    tested: ForgetSets | None = None,
    batch_size: int = 64,
    random_codes: bool = True,
    reuse: Evaluation | None = None,
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Selects and evaluates a topic's codes at each S' (figures 3 and 4), without changing the model.

    The codes are counted once for all S', in the model without its masks. As many random live codes of like frequency
    are removed beside each selection.

    Args:
        finder: the model and its ledger, which must hold no deletion.
        topic: sets as `topic_sets` makes them, with references, or as `class_sets` does.
        top_s: numbers S' of codes counted for each token, by every search of the preset.
        preset: how codes are found, as in `Unlearner.count`.
        tested: sets to evaluate on, in place of the topic's own.
        batch_size: sentences a batch.
        random_codes: as in `evaluate`.
        reuse: as in `evaluate`.
        progress: show progress bars.
        **options: the other arguments of `evaluate`; for classes, of `evaluate_classes`.

    Raises:
        ValueError: if no S' is given, one is out of range, or codes were deleted, so that there is no model before.
    """
    steps, tested = _checked_steps(top_s), tested or topic
    if any(request.kind == "delete" for request in finder.ledger.requests):
        raise ValueError("Codes of this model were deleted, so there is no model before. Sweep first, delete then.")
    started = time.perf_counter()
    with finder.without_masks():
        counts = finder.count(topic, preset, max_top_s=max(steps), batch_size=batch_size, progress=progress)
        profile_seconds = time.perf_counter() - started
        if random_codes:
            options["retain"] = counts.counts[0].retain or retain_counts(finder, topic, progress)

    of_classes = isinstance(tested, ClassSets)
    evaluations, selections, seconds = {}, {}, {}
    for step in steps:
        started = time.perf_counter()
        selections[step] = counts.select(step)
        seconds[step] = time.perf_counter() - started
        evaluations[step] = (evaluate_classes if of_classes else evaluate)(
            finder,
            tested,
            selection=selections[step],
            batch_size=batch_size,
            random_codes=random_codes,
            reuse=reuse,
            progress=progress,
            **options,
        )
        reuse = reuse or evaluations[step]
        if not of_classes:
            options["words"] = reuse.words
    return Sweep(topic.name, tested.name, evaluations, selections, seconds, profile_seconds)


def evaluation_from(state: Mapping[str, Any]) -> Evaluation:
    """The evaluation whose fields `dataclasses.asdict` gave, read back from JSON."""
    return Evaluation(**{**state, "words": tuple(state["words"])})


def _checked_steps(top_s: Iterable[int]) -> list[int]:
    steps = sorted(set(top_s))
    if not steps or steps[0] < 1:
        raise ValueError(f"top_s={steps}: expected numbers of codes per token, from 1 up, such as (8, 24).")
    return steps


def _line(top_s: int | str, codes: int | str, cells: Iterable[str], seconds: str) -> str:
    return f"{top_s:>8} | {codes:>6} | {' | '.join(f'{cell:<17}' for cell in cells)} | {seconds:>5}".rstrip()


def _with_control(evaluation: Evaluation, condition: str, dataset: str, metric: str) -> str:
    """A score, and in parentheses what random codes leave of it."""
    decimals = measure(metric).decimals
    text = f"{evaluation.scores[condition][dataset][metric]:.{decimals}f}"
    if condition == Condition.AFTER and Condition.RANDOM in evaluation.scores:
        text += f" ({evaluation.scores[Condition.RANDOM][dataset][metric]:.{decimals}f})"
    return text
