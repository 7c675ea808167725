"""Measures of a language model's answers as OpenUnlearning defines them, from losses and tokens: functions of numbers.

A *loss* is the mean over an answer's tokens, with the one that ends it, of the negative log of what a model gives them.
Rows that are NaN, of which nothing was read, are left out of each mean and test.

Source: OpenUnlearning, arXiv:2506.12618, `evals/metrics`; TOFU, arXiv:2401.06121, section 2.2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from excise.statistics import Interval

# Keeps quotients finite, as there.
TINY = 1e-10
# Draws of a bootstrap.
RESAMPLES = 10_000
Losses = Float[np.ndarray, "rows"]
Several = Sequence[Float[np.ndarray, "answers"]]


def probability(losses: Losses) -> Losses:
    """The probability of an answer as the geometric mean of its tokens': exp(-loss), from 0 to 1 (`Q_A_Prob`).

    Example:
        >>> probability(np.log([2.0, 4.0])).tolist()
        [0.5, 0.25]
    """
    return np.exp(-np.asarray(losses, dtype=np.float64))


def probability_among(right: Losses, wrong: Several) -> Losses:
    """The right answer's share of the probabilities of it and of the wrong ones, 0 to 1 (`Q_A_Prob_normalised`).

    Args:
        right: losses of the right answers.
        wrong: of each row, losses of the wrong ones.

    Example:
        >>> probability_among(np.log([2.0]), [np.log([4.0, 4.0])]).round(4).tolist()
        [0.5]
    """
    others = np.array([probability(of_row).sum() for of_row in wrong])
    own = probability(right)
    return own / (own + others + TINY)


def truth_ratios(right: Losses, wrong: Several) -> Losses:
    """How likely wrong answers are, for one right answer: 0 and up; 1 where a model does not tell (`Truth_Ratio`).

    The geometric mean of the wrong answers' probabilities over that of a right one in other words.

    Args:
        right: losses of paraphrased right answers; where there are none, as of world facts, of the right ones.
        wrong: of each row, losses of the wrong ones.

    Example:
        >>> truth_ratios(np.log([2.0]), [np.log([2.0, 8.0])]).round(4).tolist()
        [0.5]
    """
    others = np.array([np.mean(of_row) for of_row in wrong])
    return probability(others) / (probability(right) + TINY)


def closer_to_one(ratios: Losses) -> float:
    """The mean of min(r, 1 / r), 0 to 1: 1 where a model does not tell right from wrong (`forget_truth_ratio`).

    Example:
        >>> round(closer_to_one(np.array([0.5, 2.0, 1.0])), 4)
        0.6667
    """
    ratios = _there(ratios)
    return float(np.mean(np.minimum(ratios, 1 / (ratios + TINY))))


def true_better(ratios: Losses) -> float:
    """The mean of max(0, 1 - r), 0 to 1: 1 where a model gives wrong answers no chance (`Truth_Ratio` of what stays).

    Example:
        >>> true_better(np.array([0.5, 2.0, 0.0]))
        0.5
    """
    return float(np.mean(np.maximum(0, 1 - _there(ratios))))


def forget_quality(ratios: Losses, reference: Losses) -> float:
    """The p-value, 0 to 1, of a Kolmogorov-Smirnov test that truth ratios are as those of a model that never saw it.

    A large one says that the two are not told apart, a small one (below 0.05) that forgetting left a trace.

    Args:
        ratios: of what is forgotten, by the model.
        reference: by a model trained without it.

    Example:
        >>> forget_quality(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3]))
        1.0
    """
    from scipy.stats import ks_2samp

    return float(ks_2samp(_there(ratios), _there(reference)).pvalue)


def model_utility(values: Mapping[str, float]) -> float:
    """The harmonic mean of probabilities, ROUGE recalls and truth ratios of what stays, 0 to 1: 0 where one is.

    Args:
        values: by name; in TOFU those three of the retain set, of real authors and of world facts.

    Raises:
        ValueError: if there are none, or one is no number from 0 up.

    Example:
        >>> model_utility({"retain_Q_A_Prob": 0.5, "retain_Q_A_ROUGE": 1.0})
        0.6666666666666666
    """
    wrong = {name: value for name, value in values.items() if not value >= 0}
    if not values or wrong:
        raise ValueError(f"Model utility is of numbers from 0 up, at least one; got {wrong or 'none'}.")
    numbers = np.array(list(values.values()), dtype=np.float64)
    return 0.0 if (numbers == 0).any() else float(len(numbers) / (1 / numbers).sum())


def exact_memorization(right: Bool[np.ndarray, "tokens"]) -> float:
    """The share of an answer's tokens that are the likeliest ones given those before, 0 to 1; NaN without tokens.

    Args:
        right: which tokens are, without the one that ends the answer.

    Example:
        >>> exact_memorization(np.array([True, False, True, True]))
        0.75
    """
    return float(np.mean(right)) if len(right) else float("nan")


def extraction_strength(right: Bool[np.ndarray, "tokens"]) -> float:
    """The share of an answer, at its end, that a model writes by itself given the rest, up to 1; NaN without tokens.

    An answer whose last token is not the likeliest has 1 / tokens and not 0, as in OpenUnlearning's code.

    Args:
        right: which tokens are the likeliest ones, without the one that ends the answer.

    Example:
        >>> extraction_strength(np.array([True, False, True, True])), extraction_strength(np.array([True, False]))
        (0.5, 0.5)
    """
    if not len(right):
        return float("nan")
    wrong = np.flatnonzero(~np.asarray(right))
    at_end = len(right) - (int(wrong[-1]) + 1 if len(wrong) else 0)
    return max(1, at_end) / len(right)


def min_k(log_probs: Float[np.ndarray, "tokens"], k: float = 0.4) -> float:
    """Min-K %: the negative mean of the least likely tokens' log probabilities, 0 and up, larger where a text is new.

    Args:
        log_probs: of an answer's tokens, without the one that ends it.
        k: the share of tokens that is looked at, one at least; OpenUnlearning's settings for TOFU have 0.4.

    Raises:
        ValueError: if `k` is no share.

    Example:
        >>> min_k(np.array([-1.0, -4.0, -2.0, -3.0, -0.5]))
        3.5

    Source: Shi et al., 2024, arXiv:2310.16789.
    """
    if not 0 < k <= 1:
        raise ValueError(f"k={k}: expected a share above 0 and up to 1.")
    if not len(log_probs):
        return float("nan")
    return float(-np.sort(np.asarray(log_probs, dtype=np.float64))[: max(1, int(len(log_probs) * k))].mean())


def membership_auc(members: Losses, others: Losses) -> float:
    """The AUC by which a score that is larger for new texts tells members, 0 to 1: 1 where all score below the others.

    Args:
        members: scores of rows that the first model was trained on.
        others: scores of rows of the same kind that no model has seen.

    Raises:
        ValueError: if there are none on either side.

    Example:
        >>> membership_auc(np.array([0.1, 0.5]), np.array([0.5, 0.9]))
        0.875
    """
    from scipy.stats import rankdata

    members, others = _there(members), _there(others)
    if not len(members) or not len(others):
        raise ValueError(f"{len(members)} members and {len(others)} others: an AUC needs one of both at least.")
    ranks = rankdata(np.concatenate([members, others]))[len(members) :].sum()
    return float((ranks - len(others) * (len(others) + 1) / 2) / (len(members) * len(others)))


def mean_of(values: Sequence[float] | np.ndarray) -> float:
    """The mean of the values that are there."""
    return float(np.mean(_there(np.asarray(values, dtype=np.float64))))


def _there(values: np.ndarray) -> np.ndarray:
    """The values that are numbers."""
    values = np.asarray(values, dtype=np.float64)
    return values[~np.isnan(values)]


def mean_interval(values: Float[np.ndarray, "cases"], confidence: float = 0.95, seed: int = 0) -> Interval:
    """A confidence interval of a mean: a percentile bootstrap over the cases, which does not go beyond the values.

    Args:
        values: one a case; differences of two models for a paired interval.
        confidence: coverage, between 0 and 1 exclusive.
        seed: of the draws.

    Raises:
        ValueError: no values.

    Example:
        >>> mean_interval(np.full(20, 0.5))
        Interval(low=0.5, high=0.5)
    """
    if not len(values):
        raise ValueError("There are no values to take the mean of. Give at least one.")
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.asarray(values, dtype=np.float64)[drawn].mean(1), (tail, 100 - tail))
    return Interval(float(low), float(high))
