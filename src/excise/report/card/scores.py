"""Tables of scores in a card: the model before and after, and the controls beside it."""

from collections.abc import Sequence

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
    Condition.RANDOM: "control: as many random codes removed",
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
    return escaped("; ".join(told)) + "."


def has_intervals(evaluation: Evaluation) -> bool:
    """Whether any number of an evaluation's table has an interval."""
    return any("low" in scores for sets in evaluation.scores.values() for scores in sets.values())


def frontier_table(frontier: Frontier) -> str:
    """Accuracies by the number of removed pairs: the model as it was, and as more and more is removed."""
    points: Sequence[Point] = frontier.points
    if len(points) > MOST_POINTS:
        steps = (len(points) - 1) / (MOST_POINTS - 1)
        points = [points[round(i * steps)] for i in range(MOST_POINTS)]
    rows = [
        [f"{count:,}", f"{removed:,}", *map(_percent, accuracies, frontier.examples)]
        for count, removed, *accuracies in points
    ]
    of_class, of_others = (f"{number:,}" for number in frontier.examples)
    chosen = {"activations": "pairs asked for (N_a)", "examples": "examples (N_e)"}.get(frontier.method, "count")
    return table(
        [chosen, "pairs removed", f"accuracy, {of_class} of the class", f"accuracy, {of_others} of others"], rows
    )


def _cell(found: Score) -> str:
    return found.text if found.low is None else f"{found.text} ({found.low:.3f} to {found.high:.3f})"


def _percent(accuracy: float, examples: int) -> str:
    low, high = clopper_pearson(round(accuracy * examples), examples)
    return f"{100 * accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
