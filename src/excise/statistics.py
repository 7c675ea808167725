"""Statistics of codes: exact tests, q-values, ratios and intervals, by code.

Everything counts *examples* in which a code fires, not tokens: tokens of one example are not independent, and a test
that takes them for independent finds codes that are not there.
"""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int
from scipy import special

# `scipy.stats`, which takes half a second to load, is loaded at its first use: of `scipy`, not imported from it.

# Half an example in 500. CodeUnlearn gives no value. It changes neither the sign of a ratio nor any p-value, but with
# a much smaller one a code seen once by accident would get a ratio as high as a code of the topic.
EPSILON = 1e-3

# Outcomes whose probability differs by rounding only are equally likely (Fisher's two-sided test adds them up).
TIE_TOLERANCE = 1e-7


class EnrichmentTest(NamedTuple):
    """A test statistic and a two-sided p-value for every code, float64 of shape (num_codes,)."""

    statistic: Float[np.ndarray, "num_codes"]
    pvalue: Float[np.ndarray, "num_codes"]


def log2_ratio(
    target_frequency: Float[np.ndarray, "num_codes"],
    control_frequency: Float[np.ndarray, "num_codes"],
    epsilon: float = EPSILON,
) -> Float[np.ndarray, "num_codes"]:
    """The log2 of how much more often each code fires in the target than in the control (CodeUnlearn, eq. 11).

    Args:
        target_frequency: share of target examples in which each code fires, in [0, 1] (eq. 9, per example).
        control_frequency: the same for the control (eq. 10).
        epsilon: added to both, in shares of examples. It avoids a division by zero and shrinks the ratio of rare codes.

    Returns:
        Positive where the code is enriched in the target.

    Raises:
        ValueError: epsilon is not positive.

    Example:
        >>> log2_ratio(np.array([0.031, 0.0]), np.array([0.001, 0.0])).tolist()
        [4.0, 0.0]
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon} must be positive; the default is {EPSILON}.")
    return np.log2((target_frequency + epsilon) / (control_frequency + epsilon))


def mcnemar(target_only: Int[np.ndarray, "num_codes"], control_only: Int[np.ndarray, "num_codes"]) -> EnrichmentTest:
    """McNemar's exact test for paired examples: does a code fire as often with the topic word as with its replacement?

    Under the null each discordant pair is a fair coin, so the p-value is a two-sided binomial one. A code without
    discordant pairs has p = 1.

    Args:
        target_only: pairs in which the code fires in the target and not in its control.
        control_only: pairs in which it fires in the control and not in the target.

    Returns:
        The smaller of the two counts, and the p-value (as statsmodels' ``mcnemar(exact=True)``).

    Raises:
        ValueError: a count is negative.

    Example:
        >>> mcnemar(np.array([8, 0]), np.array([0, 0])).pvalue.tolist()
        [0.0078125, 1.0]
    """
    target_only, control_only = target_only.astype(np.int64), control_only.astype(np.int64)
    if min(target_only.min(initial=0), control_only.min(initial=0)) < 0:
        raise ValueError("Counts of discordant pairs must not be negative.")
    fewer = np.minimum(target_only, control_only)
    pvalue = np.minimum(2 * scipy.stats.binom.cdf(fewer, target_only + control_only, 0.5), 1.0)
    return EnrichmentTest(fewer.astype(np.float64), pvalue)


def fisher(
    target_count: Int[np.ndarray, "num_codes"],
    num_target: int,
    control_count: Int[np.ndarray, "num_codes"],
    num_control: int,
) -> EnrichmentTest:
    """Fisher's exact test, two-sided, for targets and controls that are not paired.

    Equal to ``scipy.stats.fisher_exact`` on each table, which takes seconds for a large codebook. The null
    distribution depends on a table's margins only: it is computed once for each total count, for all its codes.

    Args:
        target_count: target examples in which each code fires.
        num_target: number of target examples.
        control_count: control examples in which each code fires.
        num_control: number of control examples.

    Returns:
        The sample odds ratio and the p-value. The ratio is inf where its denominator is 0, and NaN with p = 1 where
        the code fires in every example or in none (as scipy has it).

    Raises:
        ValueError: a count is below 0 or above its number of examples, or a set is empty.

    Example:
        >>> fisher(np.array([8, 3]), 10, np.array([1, 3]), 6).pvalue.round(4).tolist()
        [0.035, 0.6066]
    """
    fires, silent, control_fires, control_silent = _tables(target_count, num_target, control_count, num_control)
    total = (fires + control_fires).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds_ratio = (fires * control_silent) / (silent * control_fires)

    pvalue = np.ones(len(total))
    most = int(total.max(initial=0))
    log_ways_target, log_ways_control = _log_choose(num_target, most), _log_choose(num_control, most)
    order = np.argsort(total, kind="stable")
    totals, starts = np.unique(total[order], return_index=True)
    for same, codes in zip(totals.tolist(), np.split(order, starts[1:]), strict=False):
        smallest = max(0, same - num_control)
        outcomes = np.arange(smallest, min(same, num_target) + 1)
        probability = special.softmax(log_ways_target[outcomes] + log_ways_control[same - outcomes])
        ascending = np.sort(probability)
        as_likely_or_less = np.cumsum(ascending)
        as_likely_or_less[-1] = 1.0
        observed = probability[fires[codes].astype(np.int64) - smallest] * (1 + TIE_TOLERANCE)
        pvalue[codes] = as_likely_or_less[np.searchsorted(ascending, observed, side="right") - 1]
    return EnrichmentTest(odds_ratio, np.minimum(pvalue, 1.0))


def chi_squared(
    target_count: Int[np.ndarray, "num_codes"],
    num_target: int,
    control_count: Int[np.ndarray, "num_codes"],
    num_control: int,
) -> EnrichmentTest:
    """Pearson's chi-squared test of each code's 2 x 2 table, without Yates' correction (CodeUnlearn, section 3.5).

    It is unreliable where an expected count is below 5, as it is for most codes of a large codebook: prefer
    `mcnemar` or `fisher`.

    Args:
        target_count: target examples in which each code fires.
        num_target: number of target examples.
        control_count: control examples in which each code fires.
        num_control: number of control examples.

    Returns:
        The statistic and its p-value at one degree of freedom; 0 and 1 where the code fires in every example or none.

    Raises:
        ValueError: a count is below 0 or above its number of examples, or a set is empty.

    Example:
        >>> chi_squared(np.array([15, 0]), 50, np.array([5, 0]), 50).statistic.tolist()
        [6.25, 0.0]
    """
    fires, silent, control_fires, control_silent = _tables(target_count, num_target, control_count, num_control)
    examples = num_target + num_control
    # In a 2 x 2 table all four cells are equally far from their expectation.
    distance = np.abs(fires * control_silent - silent * control_fires) / examples
    margins = num_target * num_control * (fires + control_fires) * (silent + control_silent)
    # A code that fires always or never has a distance of 0 and no expectation to divide by.
    statistic = distance**2 * examples**3 / np.where(margins == 0, 1.0, margins)
    return EnrichmentTest(statistic, special.chdtrc(1, statistic))


def benjamini_hochberg(pvalues: Float[np.ndarray, "num_tests"]) -> Float[np.ndarray, "num_tests"]:
    """The q-value of each test: the smallest false discovery rate at which it is still found (Benjamini-Hochberg 1995).

    Args:
        pvalues: in [0, 1], one per test; give all tests of a family together.

    Returns:
        q-values in the order given.

    Raises:
        ValueError: a p-value is NaN or outside [0, 1].

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.5, 0.02])).tolist()
        [0.03, 0.5, 0.03]
    """
    if not np.all((pvalues >= 0) & (pvalues <= 1)):
        bad = np.count_nonzero(~((pvalues >= 0) & (pvalues <= 1)))
        raise ValueError(f"{bad} of {len(pvalues)} p-values are NaN or outside [0, 1]; test every code before this.")
    return scipy.stats.false_discovery_control(pvalues, method="bh")


def _log_choose(number: int, most: int) -> np.ndarray:
    """Log of the ways to choose 0, 1, ... `most` of `number` examples; no further than to all of them."""
    chosen = np.arange(min(number, most) + 1)
    return special.gammaln(number + 1) - special.gammaln(chosen + 1) - special.gammaln(number - chosen + 1)


def _tables(
    target_count: np.ndarray, num_target: int, control_count: np.ndarray, num_control: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four cells of every code's table, in float64 so that products of margins cannot overflow."""
    for name, count, examples in (("target", target_count, num_target), ("control", control_count, num_control)):
        if examples < 1:
            raise ValueError(f"num_{name}={examples}: at least one {name} example is needed.")
        if count.min(initial=0) < 0 or count.max(initial=0) > examples:
            raise ValueError(
                f"{name}_count ranges from {count.min()} to {count.max()}, expected 0 to num_{name}={examples}: "
                "count the examples in which a code fires, not its tokens."
            )
    fires, control_fires = target_count.astype(np.float64), control_count.astype(np.float64)
    return fires, num_target - fires, control_fires, num_control - control_fires


class Interval(NamedTuple):
    """A confidence interval.

    Args:
        low: lower bound.
        high: upper bound.
    """

    low: float
    high: float


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
        raise ValueError(f"Got {hits} hits of {total}: expected at least one trial and 0 <= hits <= total.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: expected a number between 0 and 1, for example 0.95.")
    interval = scipy.stats.binomtest(int(hits), int(total)).proportion_ci(confidence_level=confidence, method="exact")
    return Interval(float(interval.low), float(interval.high))


def share_difference(hits: int, total: int, null_hits: int, null_total: int, confidence: float = 0.95) -> Interval:
    """The confidence interval of `hits / total - null_hits / null_total`, two shares of independent samples.

    Newcombe's hybrid score interval, which keeps its width where both shares are 0 or 1. Of one sample that two models
    are run on it is wider than need be.

    Args:
        hits: number of successes.
        total: number of trials, at least 1.
        null_hits: successes of the sample that is subtracted.
        null_total: its trials, at least 1.
        confidence: coverage, between 0 and 1 exclusive.

    Example:
        >>> low, high = share_difference(0, 49, 0, 49)
        >>> f"{low:.3f} {high:.3f}"
        '-0.073 0.073'

    Source: Newcombe, *Statistics in Medicine* 17 (1998), method 10, through Wilson's intervals of `scipy`.
    """
    shares, bounds = [], []
    for of_hits, of_total in ((hits, total), (null_hits, null_total)):
        if of_total < 1 or not 0 <= of_hits <= of_total:
            raise ValueError(f"Got {of_hits} hits of {of_total}: expected at least one trial and 0 <= hits <= total.")
        test = scipy.stats.binomtest(int(of_hits), int(of_total))
        shares.append(of_hits / of_total)
        bounds.append(test.proportion_ci(confidence_level=confidence, method="wilson"))
    (one, null), (of_one, of_null) = shares, bounds
    below = np.hypot(one - of_one.low, of_null.high - null)
    above = np.hypot(of_one.high - one, null - of_null.low)
    return Interval(float(one - null - below), float(one - null + above))


__all__ = ["benjamini_hochberg", "clopper_pearson", "fisher", "mcnemar"]
