"""Measures of answers: what OpenUnlearning's code gives on small cases, worked out by hand."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from excise.evaluation.metrics.answers import (
    closer_to_one,
    exact_memorization,
    extraction_strength,
    forget_quality,
    mean_of,
    membership_auc,
    min_k,
    model_utility,
    probability,
    probability_among,
    true_better,
    truth_ratios,
)

# Losses of two rows: right answers of probability 1/2 and 1/4, wrong ones of 1/4, 1/16 and of 1/2, 1/2.
RIGHT = np.array([log(2), log(4)])
WRONG = [np.array([log(4), log(16)]), np.array([log(2), log(2)])]


def test_wrong_answers_are_averaged_by_loss_before_they_are_made_a_probability():
    # (log 4 + log 16) / 2 = log 8: 1/8 for 1/2 is 1/4, where the mean of probabilities would give 5/16.
    assert truth_ratios(RIGHT, WRONG) == pytest.approx([0.25, 2.0])


def test_truth_ratios_of_what_is_forgotten_are_best_near_one_and_of_what_stays_near_none():
    assert closer_to_one(truth_ratios(RIGHT, WRONG)) == pytest.approx((0.25 + 0.5) / 2)
    assert true_better(truth_ratios(RIGHT, WRONG)) == pytest.approx((0.75 + 0) / 2)


def test_the_right_answer_has_its_share_of_the_probabilities():
    assert probability_among(RIGHT, WRONG) == pytest.approx([0.5 / (0.5 + 0.3125), 0.25 / 1.25])


def test_rows_may_have_different_numbers_of_wrong_answers():
    assert truth_ratios(RIGHT, [WRONG[0][:1], WRONG[1]]) == pytest.approx([0.5, 2.0])


def test_a_probability_is_of_the_mean_loss():
    assert probability(np.array([0.0, log(10)])) == pytest.approx([1.0, 0.1])


def test_a_right_answer_without_probability_gives_a_number():
    assert np.isfinite(truth_ratios(np.array([1e4]), [np.array([1.0])])).all()
    assert truth_ratios(np.array([1e4]), [np.array([1e4])]) == [0.0]
    assert probability_among(np.array([1e4]), [np.array([1e4])]) == [0.0]


STRENGTHS = {
    "all of it": ("TTTT", 1.0, 1.0),
    "its second half": ("TFTT", 0.5, 0.75),
    "nothing at the end is that of one token": ("TTTF", 0.25, 0.75),
    "nothing is that of one token": ("FFFF", 0.25, 0.0),
    "one token that is wrong is all there is": ("F", 1.0, 0.0),
    "one token that is right": ("T", 1.0, 1.0),
}


@pytest.mark.parametrize("what", STRENGTHS)
def test_what_is_extracted(what):
    right, strength, memorised = STRENGTHS[what]
    tokens = np.array([one == "T" for one in right])
    assert extraction_strength(tokens) == pytest.approx(strength)
    assert exact_memorization(tokens) == pytest.approx(memorised)


def test_of_no_tokens_nothing_is_said():
    empty = np.zeros(0, dtype=bool)
    assert np.isnan([extraction_strength(empty), exact_memorization(empty), min_k(np.zeros(0))]).all()


@pytest.mark.parametrize(("k", "wanted"), [(0.4, 3.5), (0.2, 4.0), (0.01, 4.0), (1.0, 2.1), (0.59, 3.5)])
def test_min_k_is_of_the_least_likely_tokens_and_one_at_least(k, wanted):
    assert min_k(np.array([-1.0, -4.0, -2.0, -3.0, -0.5]), k) == pytest.approx(wanted)


@pytest.mark.parametrize("k", [0, -1, 1.1, float("nan")])
def test_min_k_of_no_share_is_refused(k):
    with pytest.raises(ValueError, match="expected a share above 0"):
        min_k(np.array([-1.0]), k)


scores = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=12).map(np.array)


@settings(max_examples=25)
@given(scores, scores)
def test_an_auc_is_that_of_scikit_learn(members, others):
    from sklearn.metrics import roc_auc_score

    labels = [0] * len(members) + [1] * len(others)
    assert membership_auc(members, others) == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])))


def test_an_auc_of_nobody_is_refused():
    with pytest.raises(ValueError, match="0 members and 1 others"):
        membership_auc(np.array([np.nan]), np.array([1.0]))


def test_model_utility_is_a_harmonic_mean():
    from scipy.stats import hmean

    values = {"a": 0.2, "b": 0.9, "c": 0.55}
    assert model_utility(values) == pytest.approx(hmean(list(values.values())))
    assert model_utility(values | {"d": 0.0}) == 0.0


@pytest.mark.parametrize("values", [{}, {"a": -0.1}, {"a": float("nan")}])
def test_no_utility_is_made_of(values):
    with pytest.raises(ValueError, match="numbers from 0 up"):
        model_utility(values)


def test_forget_quality_is_the_p_value_of_a_kolmogorov_smirnov_test():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    one, other = rng.lognormal(size=40), rng.lognormal(1.0, size=40)
    assert forget_quality(one, other) == ks_2samp(one, other).pvalue < 0.01
    assert forget_quality(one, one) == 1.0
    # OpenUnlearning once tested the ratios turned round, which is the same.
    assert forget_quality(1 / one, 1 / other) == pytest.approx(forget_quality(one, other))


def test_rows_of_which_nothing_was_read_do_not_count():
    assert mean_of([0.5, np.nan, 1.0]) == 0.75
    ratios = np.array([0.5, np.nan, 2.0])
    assert closer_to_one(ratios) == pytest.approx(0.5)
    assert true_better(ratios) == pytest.approx(0.25)
    assert forget_quality(ratios, np.array([0.5, 2.0])) == 1.0
