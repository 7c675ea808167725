"""The statistics against scipy, statsmodels, and planted truths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, chi2_contingency, fisher_exact
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from excise.statistics import benjamini_hochberg, chi_squared, clopper_pearson, fisher, log2_ratio, mcnemar

EXACT = {"rtol": 1e-9, "atol": 0.0}


def tables(max_examples: int = 60) -> st.SearchStrategy:
    """Sizes of two sets, and a few codes' counts in them."""

    def counts(sizes: tuple[int, int]) -> st.SearchStrategy:
        pair = st.tuples(st.integers(0, sizes[0]), st.integers(0, sizes[1]))
        return st.tuples(st.just(sizes), st.lists(pair, min_size=1, max_size=5))

    return st.tuples(st.integers(1, max_examples), st.integers(1, max_examples)).flatmap(counts)


def random_tables(num_target: int, num_control: int, num_codes: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(num_target + num_control)
    frequency = rng.random(num_codes) ** 3
    return rng.binomial(num_target, frequency), rng.binomial(num_control, frequency * rng.uniform(0.5, 1, num_codes))


def check_fisher(target: np.ndarray, num_target: int, control: np.ndarray, num_control: int) -> None:
    ours = fisher(target, num_target, control, num_control)
    theirs = [fisher_exact([[a, num_target - a], [c, num_control - c]]) for a, c in zip(target, control, strict=True)]
    np.testing.assert_allclose(ours.statistic, [result.statistic for result in theirs], **EXACT)
    np.testing.assert_allclose(ours.pvalue, [result.pvalue for result in theirs], **EXACT)


def check_chi_squared(target: np.ndarray, num_target: int, control: np.ndarray, num_control: int) -> None:
    ours = chi_squared(target, num_target, control, num_control)
    for index, (a, c) in enumerate(zip(target, control, strict=True)):
        if 0 < a + c < num_target + num_control:
            theirs = chi2_contingency([[a, num_target - a], [c, num_control - c]], correction=False)
            expected = (theirs.statistic, theirs.pvalue)
        else:
            expected = (0.0, 1.0)
        # Rounding of a statistic that is exactly 0 needs the absolute part.
        np.testing.assert_allclose(ours.statistic[index], expected[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.pvalue[index], expected[1], rtol=1e-6, atol=0)


@settings(max_examples=60)
@given(tables())
def test_fisher_equals_scipy_on_any_table(drawn):
    (num_target, num_control), counts = drawn
    target, control = np.array(counts).T
    check_fisher(target, num_target, control, num_control)


@pytest.mark.parametrize("sizes", [(500, 500), (500, 480), (37, 411)])
def test_fisher_equals_scipy_at_the_size_of_a_large_codebook(sizes):
    target, control = random_tables(*sizes)
    check_fisher(target, sizes[0], control, sizes[1])


def test_fisher_does_not_change_when_target_and_control_trade_places():
    target, control = random_tables(200, 200)
    there, back = fisher(target, 200, control, 200), fisher(control, 200, target, 200)
    np.testing.assert_allclose(there.pvalue, back.pvalue, **EXACT)


@settings(max_examples=60)
@given(tables())
def test_chi_squared_equals_scipy_on_any_table(drawn):
    (num_target, num_control), counts = drawn
    target, control = np.array(counts).T
    check_chi_squared(target, num_target, control, num_control)


def test_chi_squared_equals_scipy_at_the_size_of_a_large_codebook():
    target, control = random_tables(500, 480)
    check_chi_squared(target, 500, control, 480)


def test_chi_squared_is_zero_for_codes_that_fire_always_or_never():
    result = chi_squared(np.array([0, 10]), 10, np.array([0, 7]), 7)
    assert result.statistic.tolist() == [0.0, 0.0]
    assert result.pvalue.tolist() == [1.0, 1.0]


def test_fisher_has_no_odds_ratio_for_codes_that_fire_always_or_never():
    result = fisher(np.array([0, 10, 4]), 10, np.array([0, 7, 0]), 7)
    assert np.isnan(result.statistic[:2]).all()
    assert result.statistic[2] == np.inf
    assert result.pvalue[:2].tolist() == [1.0, 1.0]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)), min_size=1, max_size=6))
def test_mcnemar_equals_statsmodels_on_any_pair_of_counts(discordant):
    target_only, control_only = np.array(discordant).T
    ours = mcnemar(target_only, control_only)
    theirs = [reference_mcnemar([[0, b], [c, 0]], exact=True) for b, c in discordant]
    np.testing.assert_allclose(ours.statistic, [result.statistic for result in theirs], **EXACT)
    np.testing.assert_allclose(ours.pvalue, [result.pvalue for result in theirs], **EXACT)


def test_mcnemar_without_discordant_pairs_has_p_one():
    assert mcnemar(np.array([0]), np.array([0])).pvalue.tolist() == [1.0]


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=30))  # subnormal: no twelve digits
def test_benjamini_hochberg_equals_statsmodels(pvalues):
    expected = multipletests(pvalues, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(np.array(pvalues)), expected, rtol=1e-12, atol=0)


def test_benjamini_hochberg_of_no_tests_is_empty():
    assert benjamini_hochberg(np.array([])).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_benjamini_hochberg_refuses_what_is_not_a_probability(bad):
    with pytest.raises(ValueError, match="1 of 3 p-values"):
        benjamini_hochberg(np.array([0.1, bad, 0.5]))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-9, 0.5))
def test_log2_ratio_has_the_sign_of_the_difference_and_turns_with_the_sets(target, control, epsilon):
    there = log2_ratio(np.array([target]), np.array([control]), epsilon)
    back = log2_ratio(np.array([control]), np.array([target]), epsilon)
    np.testing.assert_allclose(there, -back, rtol=1e-9, atol=1e-12)
    if abs(target - control) > 1e-9:
        assert np.sign(there[0]) == np.sign(target - control)


def test_log2_ratio_of_twice_the_frequency_is_one_as_epsilon_vanishes():
    ratio = log2_ratio(np.array([0.5]), np.array([0.25]), epsilon=1e-12)
    np.testing.assert_allclose(ratio, [1.0], rtol=1e-9)


def test_log2_ratio_refuses_an_epsilon_that_divides_by_zero():
    with pytest.raises(ValueError, match="epsilon=0"):
        log2_ratio(np.array([0.1]), np.array([0.0]), epsilon=0.0)


@pytest.mark.parametrize("test", [fisher, chi_squared])
def test_more_firings_than_examples_are_refused_with_both_numbers(test):
    with pytest.raises(ValueError, match=r"target_count ranges from 3 to 11.*num_target=10"):
        test(np.array([3, 11]), 10, np.array([0, 0]), 10)
    with pytest.raises(ValueError, match="num_control=0"):
        test(np.array([3]), 10, np.array([0]), 0)


def test_negative_discordant_counts_are_refused():
    with pytest.raises(ValueError, match="negative"):
        mcnemar(np.array([-1]), np.array([0]))


def paired_counts(rng: np.random.Generator, num_codes: int, num_true: int, examples: int = 500) -> dict:
    """Counts of paired sets: a shared background with a little independent noise, and codes of the topic on top."""
    background = np.minimum(rng.pareto(1.0, num_codes) * 0.004, 0.5)
    shared = rng.random((examples, num_codes)) < background
    target = shared ^ (rng.random(shared.shape) < background * 0.05)
    control = shared ^ (rng.random(shared.shape) < background * 0.05)
    # A topic code fires in a tenth of all prompts whatever the word, and in 4 % more because of it.
    true = np.arange(num_true)
    target[:, true] = control[:, true] = np.arange(examples)[:, None] < 50
    target[50:70, true] = True
    return {
        "target_count": target.sum(0),
        "control_count": control.sum(0),
        "target_only": (target & ~control).sum(0),
        "control_only": (control & ~target).sum(0),
        "seen": (target | control).any(0),
    }


def test_paired_mcnemar_finds_every_planted_code_where_unpaired_tests_do_not():
    counts = paired_counts(np.random.default_rng(0), num_codes=5_000, num_true=20)
    seen = counts["seen"]
    paired = benjamini_hochberg(mcnemar(counts["target_only"][seen], counts["control_only"][seen]).pvalue) <= 0.05
    assert paired[:20].all()
    # At a false discovery rate of 5 % one false code among 21 is to be expected now and then.
    assert paired[20:].sum() <= 2
    for unpaired in (fisher, chi_squared):
        pvalue = unpaired(counts["target_count"][seen], 500, counts["control_count"][seen], 500).pvalue
        assert (benjamini_hochberg(pvalue) <= 0.05).sum() < 20


def test_two_halves_of_one_population_fool_raw_chi_squared_and_not_mcnemar_with_benjamini_hochberg():
    rng = np.random.default_rng(1)
    frequency = np.minimum(rng.pareto(1.0, 5_000) * 0.004, 0.5)
    target, control = rng.random((2, 500, 5_000)) < frequency
    seen = (target | control).any(0)
    raw = chi_squared(target.sum(0)[seen], 500, control.sum(0)[seen], 500)
    raw_found = (raw.pvalue <= 0.05) & (target.sum(0) > control.sum(0))[seen]
    assert raw_found.sum() > 30
    exact = mcnemar((target & ~control).sum(0)[seen], (control & ~target).sum(0)[seen])
    assert (benjamini_hochberg(exact.pvalue) <= 0.05).sum() <= 1


@given(total=st.integers(1, 500), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_interval_is_that_of_the_beta_quantiles(total, share, confidence):
    hits, tail = round(share * total), (1 - confidence) / 2
    low = beta.ppf(tail, hits, total - hits + 1) if hits else 0.0
    high = beta.ppf(1 - tail, hits + 1, total - hits) if hits < total else 1.0
    interval = clopper_pearson(hits, total, confidence)
    assert interval == pytest.approx((low, high), abs=1e-6)
    assert interval.low <= hits / total <= interval.high


def test_numpy_counts_are_taken():
    assert clopper_pearson(np.int64(3), np.int64(10)) == clopper_pearson(3, 10)


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(hits, total):
    with pytest.raises(ValueError, match=f"{hits} hits of {total}"):
        clopper_pearson(hits, total)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_outside_0_and_1_is_refused(confidence):
    with pytest.raises(ValueError, match=f"confidence is {confidence}"):
        clopper_pearson(1, 2, confidence)
