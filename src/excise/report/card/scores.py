"""Tables of scores in a card: the model before and after, and the controls beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from excise.report.attacks import NOT_WITHSTOOD, AttackReport
from excise.report.card.metadata import labels_of_sets
from excise.report.frontier import Frontier, Point
from excise.report.markdown import counted, escaped, listed, table
from excise.report.measures import Condition, Score, measure
from excise.report.results import Evaluation
from excise.statistics import clopper_pearson

CONDITIONS: dict[str, str] = {
    Condition.BEFORE: "before",
    Condition.CUT: "before, the word cut out of the sentence",
    Condition.AFTER: "**after**",
    Condition.LEFT_OUT: "the bottleneck left out",
    Condition.ERASED: "**deleted, with its embedding rows**",
    Condition.ERASED_LEFT_OUT: "deleted so, the bottleneck left out",
    Condition.RANDOM: "control: as many random codes removed",
    Condition.RANDOM_TOPIC: "control: as many random codes, as frequent with the topic",
    Condition.BASE: "the plain base model",
    Condition.REFERENCE: "reference: a model that never saw it",
}
# Rows of a frontier that a card shows.
MOST_POINTS = 12


def evaluation_table(evaluation: Evaluation) -> str:
    """One row a condition, one column a measure of a set; with 95 % intervals where there are any."""
    columns = [
        (dataset, name, label)
        for dataset, label in labels_of_sets(evaluation).items()
        for name in evaluation.measures(dataset)
    ]
    header = ["", *(escaped(f"{measure(name).label}, {label}") for _, name, label in columns)]
    rows = [
        [
            CONDITIONS.get(condition) or escaped(condition),
            *(_cell(evaluation.score(name, dataset, condition)) for dataset, name, _ in columns),
        ]
        for condition in evaluation.conditions
    ]
    return table(header, rows)


def about_evaluation(evaluation: Evaluation) -> str:
    """What an evaluation was made on, in a sentence."""
    settings = evaluation.settings
    sizes = [f"{len(evaluation.texts[name]):,} {label}" for name, label in labels_of_sets(evaluation).items()]
    told = [
        f"{counted(evaluation.removed, 'code')} removed",
        f"held-out examples: {listed(sizes)}",
        *([counted(settings["num_beams"], "beam")] if "num_beams" in settings else []),
        *([f"seed {settings['seed']}"] if "seed" in settings else []),
    ]
    return " ".join([escaped("; ".join(told)) + ".", *map(escaped, evaluation.notes)])


def has_intervals(evaluation: Evaluation) -> bool:
    """Whether any number of an evaluation's table has an interval."""
    return any("low" in scores for sets in evaluation.scores.values() for scores in sets.values())


def sweep_table(rows: Mapping[str, Any]) -> str:
    """Scores at each S', of `sweep_rows`; the step that is in force is marked."""
    header = ["S'", "codes", *map(escaped, rows["labels"])]
    steps = [f"**{row['top_s']}** (in force)" if row["in_force"] else str(row["top_s"]) for row in rows["rows"]]
    return table(
        header, [[step, f"{row['codes']:,}", *row["cells"]] for step, row in zip(steps, rows["rows"], strict=True)]
    )


def frontier_table(frontier: Frontier, reached: Point | None = None) -> str:
    """Accuracies by the number of removed pairs: the model as it was, and as more and more is removed.

    Args:
        frontier: the numbers.
        reached: the point that is in force, which is marked.
    """
    points: Sequence[Point] = frontier.points
    if len(points) > MOST_POINTS:
        steps = (len(points) - 1) / (MOST_POINTS - 1)
        few = [points[round(i * steps)] for i in range(MOST_POINTS)]
        points = [point for point in points if point in few or point == reached]
    rows = [
        [
            f"**{point.count:,}** (in force)" if point == reached else f"{point.count:,}",
            f"{point.removed:,}",
            *map(_percent, (point.forget, point.retain), frontier.examples),
        ]
        for point in points
    ]
    of_class, of_others = (f"{number:,}" for number in frontier.examples)
    chosen = {"activations": "pairs asked for (N_a)", "examples": "examples (N_e)"}.get(frontier.method, "count")
    return table(
        [chosen, "pairs removed", f"accuracy, {of_class} of the class", f"accuracy, {of_others} of others"], rows
    )


def attack_table(report: AttackReport) -> str:
    """One row an attack: the score before, deleted and attacked, what it is held against, and the verdict."""
    names = ("attack", "measure", "before", "deleted", "attacked", "null", "verdict")
    rows = [[escaped(row[name]) for name in names] for row in report.rows()]
    for cells in rows:
        cells[-1] = f"**{cells[-1]}**" if cells[-1] == NOT_WITHSTOOD else cells[-1]
    return table([*names[:5], "held against", "verdict"], rows)


def _cell(found: Score) -> str:
    return found.text if found.low is None else f"{found.text} ({found.low:.3f} to {found.high:.3f})"


def _percent(accuracy: float, examples: int) -> str:
    low, high = clopper_pearson(round(accuracy * examples), examples)
    return f"{100 * accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
