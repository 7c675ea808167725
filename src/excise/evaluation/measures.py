"""Which scores of an evaluation are measures, what they are called, and how far they moved."""

from typing import NamedTuple

from excise.evaluation.result import BEFORE, REFERENCE, Evaluation
from excise.functional.scores import normalized_drop

# The names of the sets in the paper.
SET_LABELS = {"heldout": "D'_T", "heldout_retain": "D_R"}


class Measure(NamedTuple):
    """How a score is written.

    Attributes:
        label: its name in tables and figures.
        decimals: digits after the point.
    """

    label: str
    decimals: int


KNOWN = {
    "bleu": Measure("BLEU", 1),
    "chrf": Measure("chrF", 1),
    "rest_bleu": Measure("rest BLEU", 1),
    "recall": Measure("topic recall", 3),
    "mentions": Measure("mentions", 3),
    "accuracy": Measure("accuracy", 3),
    "meteor": Measure("METEOR", 3),
    "bert_score_precision": Measure("BERTScore P", 3),
    "bert_score_recall": Measure("BERTScore R", 3),
    "bert_score_f1": Measure("BERTScore F1", 3),
    "bart_score": Measure("BARTScore", 2),
}
# What stands beside topic recall and accuracy: counts and the bounds of its interval.
NO_MEASURES = {"hits", "total", "low", "high"}


def measure(name: str) -> Measure:
    """How a score is written; one that excise does not know goes by its own name.

    Example:
        >>> measure("bleu").label, measure("my_score").label
        ('BLEU', 'my_score')
    """
    return KNOWN.get(name, Measure(name, 3))


def measures(evaluation: Evaluation, dataset: str) -> list[str]:
    """The names of a set's measures, in the order in which they were computed; signatures and counts are none."""
    scores = next(iter(evaluation.scores.values()))[dataset]
    return [
        name
        for name, value in scores.items()
        if name not in NO_MEASURES and isinstance(value, int | float) and not isinstance(value, bool)
    ]


def change(evaluation: Evaluation, metric: str, dataset: str, condition: str) -> float:
    """How far a score is from the one before, in percent of that; below 0 is a loss of quality.

    Scores that are negative, such as BARTScore, are set against their size. Not a number where there is no score
    before, or it is 0.
    """
    before = evaluation.scores.get(BEFORE, {}).get(dataset, {}).get(metric)
    if not before:
        return float("nan")
    return 100 * (evaluation.scores[condition][dataset][metric] - before) / abs(before)


def drop(evaluation: Evaluation, metric: str, dataset: str, condition: str) -> float:
    """The normalised improvement drop in percent: 0 at the model before, 100 at the reference model.

    Not a number where one of the two was not evaluated, or both score the same.

    Source: *CodeUnlearn*, section 3.7; table 2 prints it with a minus sign.
    """
    score, before, reference = (
        evaluation.scores.get(c, {}).get(dataset, {}).get(metric) for c in (condition, BEFORE, REFERENCE)
    )
    if before is None or reference is None or before == reference:
        return float("nan")
    return 100 * float(normalized_drop(score, zero_shot=reference, codebook=before))
