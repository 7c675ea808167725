"""Scores put on a common scale, and how sure a proportion is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

Scores = int | float | np.number | np.ndarray | Sequence[float]


class Interval(NamedTuple):
    """A confidence interval.

    Args:
        low: lower bound.
        high: upper bound.
    """

    low: float
    high: float


def normalized_improvement(score: Scores, zero_shot: Scores, codebook: Scores) -> float | np.ndarray:
    """Where a score lies between two models: 0 at the zero-shot model, 1 at the codebook model.

    Below 0 is worse than the zero-shot model, above 1 better than the codebook model. It does not matter whether the
    metric grows or falls with quality. Any other model can stand in for the zero-shot one, for example one that never
    saw the topic.

    Args:
        score: score after unlearning, a number or an array of any shape.
        zero_shot: score of the zero-shot model, on the same data.
        codebook: score of the codebook model before unlearning, on the same data.

    Returns:
        A fraction (not percent): a float for three numbers, otherwise an array of the broadcast shape.

    Raises:
        ValueError: a score is not finite, or the two models score the same, so that there is no scale.

    Example:
        >>> normalized_improvement(25.0, zero_shot=10.0, codebook=30.0)
        0.75

    Source: *CodeUnlearn*, section 3.7.
    """
    score, zero_shot, codebook = (
        _finite(name, value) for name, value in (("score", score), ("zero_shot", zero_shot), ("codebook", codebook))
    )
    if np.any(zero_shot == codebook):
        raise ValueError(
            f"zero_shot ({zero_shot}) and codebook ({codebook}) score the same: the scale from 0 (zero-shot) to 1 "
            "(codebook) is undefined. Compare the raw scores, or choose a reference model that scores differently."
        )
    fraction = (score - zero_shot) / (codebook - zero_shot)
    return fraction if fraction.ndim else float(fraction)


def normalized_drop(score: Scores, zero_shot: Scores, codebook: Scores) -> float | np.ndarray:
    """How much of the way from the codebook model down to the zero-shot model a score has fallen.

    0 at the codebook model, 1 at the zero-shot model, above 1 where it is worse than the zero-shot model; always
    `1 - normalized_improvement`. The paper's tables print it in percent with a minus sign: -112.52 is a drop of 1.1252.

    Args:
        score: score after unlearning, a number or an array of any shape.
        zero_shot: score of the zero-shot model, on the same data.
        codebook: score of the codebook model before unlearning, on the same data.

    Returns:
        A fraction (not percent): a float for three numbers, otherwise an array of the broadcast shape.

    Raises:
        ValueError: a score is not finite, or the two models score the same, so that there is no scale.

    Example:
        >>> normalized_drop(25.0, zero_shot=10.0, codebook=30.0)
        0.25

    Source: *CodeUnlearn*, section 3.7 and table 2.
    """
    return 1 - normalized_improvement(score, zero_shot, codebook)


def clopper_pearson(hits: int | np.integer, total: int | np.integer, confidence: float = 0.95) -> Interval:
    """The exact binomial confidence interval of `hits / total`.

    Args:
        hits: number of successes.
        total: number of trials, at least 1.
        confidence: coverage that the interval has at least, between 0 and 1 exclusive.

    Returns:
        Bounds in [0, 1].

    Raises:
        ValueError: no trials, more hits than trials, or a confidence outside (0, 1).

    Example:
        >>> low, high = clopper_pearson(0, 10)
        >>> f"{low:.3f} {high:.3f}"
        '0.000 0.308'

    Source: Clopper and Pearson, *Biometrika* 26 (1934), through `scipy.stats.binomtest`.
    """
    if total < 1 or not 0 <= hits <= total:
        raise ValueError(f"got {hits} hits of {total}: expected at least one trial and 0 <= hits <= total.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: expected a number between 0 and 1, for example 0.95.")
    interval = binomtest(int(hits), int(total)).proportion_ci(confidence_level=confidence, method="exact")
    return Interval(float(interval.low), float(interval.high))


def _finite(name: str, value: Scores) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite: {array}. Scores must be finite numbers.")
    return array
