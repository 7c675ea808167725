"""Normalised drops: how far a score has fallen from one model towards another."""

from collections.abc import Sequence

import numpy as np

Scores = int | float | np.number | np.ndarray | Sequence[float]


def normalized_drop(score: Scores, zero_shot: Scores, codebook: Scores) -> float | np.ndarray:
    """How much of the way from the codebook model down to the zero-shot model a score has fallen.

    0 at the codebook model, 1 at the zero-shot model, above 1 where it is worse than the zero-shot model, below 0 where
    it is better than the codebook model. It does not matter whether the metric grows or falls with quality. Any other
    model can stand in for the zero-shot one, for example one that never saw the topic.

    The paper's improvement is 1 minus this. Its tables print the drop in percent with a minus sign: -112.52 is 1.1252.

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
    score, zero_shot, codebook = (
        _finite(name, value) for name, value in (("score", score), ("zero_shot", zero_shot), ("codebook", codebook))
    )
    if np.any(zero_shot == codebook):
        raise ValueError(
            f"zero_shot ({zero_shot}) and codebook ({codebook}) score the same: the scale from 0 (codebook) to 1 "
            "(zero-shot) is undefined. Compare the raw scores, or choose a reference model that scores differently."
        )
    fraction = (codebook - score) / (codebook - zero_shot)
    return fraction if fraction.ndim else float(fraction)


def _finite(name: str, value: Scores) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite: {array}. Scores must be finite numbers.")
    return array
