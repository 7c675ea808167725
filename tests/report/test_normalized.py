"""Normalised scores and exact intervals."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import beta

from excise.report.normalized import normalized_drop, normalized_improvement
from excise.statistics import clopper_pearson

scores = st.floats(-100, 100)


def test_improvement_is_0_at_the_zero_shot_model_and_1_at_the_codebook_model():
    assert normalized_improvement(0.19, zero_shot=0.19, codebook=0.31) == 0
    assert normalized_improvement(0.31, zero_shot=0.19, codebook=0.31) == 1


def test_drop_is_1_at_the_zero_shot_model_and_0_at_the_codebook_model():
    assert normalized_drop(0.19, zero_shot=0.19, codebook=0.31) == 1
    assert normalized_drop(0.31, zero_shot=0.19, codebook=0.31) == 0


def test_worse_than_the_zero_shot_model_is_a_drop_above_1():
    assert normalized_drop(0.05, zero_shot=0.1, codebook=0.3) == pytest.approx(1.25)


def test_negative_scores_such_as_log_likelihoods_keep_the_direction():
    assert normalized_improvement(-4.5, zero_shot=-5.0, codebook=-3.0) == pytest.approx(0.25)


@given(score=scores, zero_shot=scores, codebook=scores, scale=st.floats(0.1, 10), shift=scores)
def test_improvement_does_not_depend_on_unit_and_origin_of_the_metric(score, zero_shot, codebook, scale, shift):
    assume(abs(zero_shot - codebook) > 1e-3)
    moved = (scale * value + shift for value in (score, zero_shot, codebook))
    assert normalized_improvement(*moved) == pytest.approx(
        normalized_improvement(score, zero_shot, codebook), rel=1e-6, abs=1e-6
    )


def test_arrays_broadcast_and_equal_the_single_numbers():
    score, codebook = np.array([[1.0], [2.0]]), np.array([4.0, 5.0, 6.0])
    result = normalized_improvement(score, 0.5, codebook)
    assert result.shape == (2, 3)
    assert result[1, 2] == normalized_improvement(2.0, 0.5, 6.0)
    assert isinstance(normalized_improvement(2.0, 0.5, 6.0), float)


@pytest.mark.parametrize(("zero_shot", "codebook"), [(3.0, 3.0), ([1.0, 3.0], [2.0, 3.0]), ([1.0, 3.0], 3.0)])
@pytest.mark.parametrize("function", [normalized_improvement, normalized_drop])
def test_two_models_that_score_the_same_are_refused(function, zero_shot, codebook):
    with pytest.raises(ValueError, match="score the same"):
        function(1.0, zero_shot, codebook)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("nan")]])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="score holds a value that is not finite"):
        normalized_improvement(bad, 0.0, 1.0)


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
