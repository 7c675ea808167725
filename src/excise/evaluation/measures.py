"""Which scores of an evaluation are measures, and how far they moved."""

from excise.conditions import BEFORE, REFERENCE
from excise.evaluation.result import Evaluation
from excise.functional.scores import normalized_drop
from excise.measures import is_measure

# The names of the sets in the paper.
SET_LABELS = {"heldout": "D'_T", "heldout_retain": "D_R"}


def measures(evaluation: Evaluation, dataset: str) -> list[str]:
    """The names of a set's measures, in the order in which they were computed; signatures and counts are none."""
    scores = next(iter(evaluation.scores.values()))[dataset]
    return [name for name, value in scores.items() if is_measure(name, value)]


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
