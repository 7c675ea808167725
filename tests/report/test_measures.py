"""Normalised drops."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from excise.report.measures import normalized_drop

scores = st.floats(-100, 100)


def test_drop_is_1_at_the_zero_shot_model_and_0_at_the_codebook_model():
    assert normalized_drop(0.19, zero_shot=0.19, codebook=0.31) == 1
    assert normalized_drop(0.31, zero_shot=0.19, codebook=0.31) == 0


def test_worse_than_the_zero_shot_model_is_a_drop_above_1():
    assert normalized_drop(0.05, zero_shot=0.1, codebook=0.3) == pytest.approx(1.25)


def test_negative_scores_such_as_log_likelihoods_keep_the_direction():
    assert normalized_drop(-4.5, zero_shot=-5.0, codebook=-3.0) == pytest.approx(0.75)


@given(score=scores, zero_shot=scores, codebook=scores, scale=st.floats(0.1, 10), shift=scores)
def test_the_drop_does_not_depend_on_unit_and_origin_of_the_metric(score, zero_shot, codebook, scale, shift):
    assume(abs(zero_shot - codebook) > 1e-3)
    moved = (scale * value + shift for value in (score, zero_shot, codebook))
    assert normalized_drop(*moved) == pytest.approx(normalized_drop(score, zero_shot, codebook), rel=1e-6, abs=1e-6)


def test_arrays_broadcast_and_equal_the_single_numbers():
    score, codebook = np.array([[1.0], [2.0]]), np.array([4.0, 5.0, 6.0])
    result = normalized_drop(score, 0.5, codebook)
    assert result.shape == (2, 3)
    assert result[1, 2] == normalized_drop(2.0, 0.5, 6.0)
    assert isinstance(normalized_drop(2.0, 0.5, 6.0), float)


@pytest.mark.parametrize(("zero_shot", "codebook"), [(3.0, 3.0), ([1.0, 3.0], [2.0, 3.0]), ([1.0, 3.0], 3.0)])
def test_two_models_that_score_the_same_are_refused(zero_shot, codebook):
    with pytest.raises(ValueError, match="score the same"):
        normalized_drop(1.0, zero_shot, codebook)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("nan")]])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="score holds a value that is not finite"):
        normalized_drop(bad, 0.0, 1.0)
