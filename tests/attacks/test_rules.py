"""The rule by which attacks that are measured by an AUC are judged."""

import json
import re

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from excise.attacks.rules import FEWEST, Scores, auc_difference, auc_result
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD, AttackResult


def drawn(seed, shift=0.0, sizes=(300, 300), spread=1.0):
    rng = np.random.default_rng(seed)
    return Scores(rng.normal(shift, spread, sizes[0]), rng.normal(0, 1, sizes[1]))


def test_the_auc_is_that_of_scikit_learn_with_ties_counted_half():
    rng = np.random.default_rng(0)
    scores = Scores(rng.integers(0, 6, 40), rng.integers(0, 5, 70))
    expected = roc_auc_score([1] * 40 + [0] * 70, np.concatenate([scores.members, scores.others]))
    assert scores.auc == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sizes", "shift", "spread", "draws"),
    [((10, 10), 3.0, 1.0, 200), ((37, 37), 0.0, 4.0, 200), ((20, 100), 0.5, 1.0, 200), ((200, 200), 1.0, 1.0, 60)],
)
def test_nine_of_ten_intervals_at_least_hold_the_truth(sizes, shift, spread, draws):
    truth = stats.norm.cdf(shift / np.hypot(1, spread))
    intervals = [drawn(seed, shift, sizes, spread).interval() for seed in range(draws)]
    assert np.mean([low <= truth <= high for low, high in intervals]) > 0.9
    assert all(0 <= low < high <= 1 for low, high in intervals)


@pytest.mark.parametrize("auc", [0.0, 1.0])
def test_an_auc_of_0_or_1_has_an_interval_with_a_width(auc):
    apart = Scores(np.arange(12.0) + (20 if auc else -20), np.arange(15.0))
    assert apart.auc == auc
    low, high = apart.interval()
    assert high - low > 0.05
    assert auc in (low, high)
    low, high = auc_difference(apart, apart)
    assert high - low > 0.05


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_difference_of_two_models_on_the_same_cases_holds_the_truth_and_is_narrower_where_they_agree(correlation):
    truth, hits, widths = stats.norm.cdf(0.5 / np.sqrt(2)) - 0.5, [], []
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(size=(2, 80))
        other = correlation * noise[0] + np.sqrt(1 - correlation**2) * noise[1]
        one = noise[0] + np.repeat([0.5, 0.0], 40)
        low, high = auc_difference(Scores(one[:40], one[40:]), Scores(other[:40], other[40:]))
        hits.append(low <= truth <= high)
        widths.append(high - low)
    assert np.mean(hits) > 0.9
    assert np.mean(widths) == pytest.approx({0.0: 0.355, 0.9: 0.14}[correlation], abs=0.03)


def test_without_correlation_the_difference_is_delongs_in_large_samples():
    one, other = drawn(0, 0.5, (2000, 2000)), drawn(1, 0.2, (2000, 2000))
    low, high = auc_difference(one, other)
    variance = sum(
        np.var([np.mean(value > of.others) for value in of.members], ddof=1) / 2000
        + np.var([np.mean(of.members > value) for value in of.others], ddof=1) / 2000
        for of in (one, other)
    )
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.05)


def test_members_that_are_told_from_others_are_not_withstood():
    result = auc_result("guess", [({}, drawn(0, 1.0), drawn(0), drawn(0, 2.0))])
    assert result.verdict == NOT_WITHSTOOD
    assert result.interval[0] < result.score < result.interval[1]
    assert result.before > result.score > result.null
    assert AttackResult.from_dict(json.loads(json.dumps(result.to_dict()))).row() == result.row()


def test_scores_like_those_of_the_null_are_withstood_even_where_texts_differ():
    null = drawn(0, 1.0)
    result = auc_result("guess", [({}, Scores(null.members + 0.01, null.others), null, None)])
    assert result.score > 0.7
    assert result.verdict == WITHSTOOD
    assert auc_result("guess", [({}, null, None, None)]).verdict == NOT_WITHSTOOD


def test_few_cases_are_not_measured_and_this_is_said():
    result = auc_result("guess", [({}, drawn(0, 0.3, (12, 12)), None, None)])
    assert result.verdict == NOT_MEASURED
    assert "12 members and 12 others are too few to tell" in result.reason


def test_an_auc_below_its_null_is_turned_round_and_this_is_said():
    result = auc_result("guess", [({}, drawn(0, -1.5), None, None)])
    assert result.score < 0.2
    assert result.verdict == NOT_WITHSTOOD
    assert "turns it round" in result.reason
    assert result.details["turned_round"] is True


def test_the_strongest_attempt_counts_and_the_number_of_attempts_raises_what_is_needed():
    weak = drawn(7, 0.18)
    alone = auc_result("guess", [({"how": "weak"}, weak, None, None)])
    among = auc_result("guess", [({"how": seed}, drawn(seed, sizes=(300, 300)), None, None) for seed in range(6)])
    assert alone.verdict == NOT_WITHSTOOD
    many = auc_result("guess", [({"how": "weak"}, weak, None, None), *[({}, drawn(2), None, None)] * 19])
    assert many.score == alone.score
    assert many.verdict == NOT_MEASURED
    assert "strongest of 20 attempts" in many.reason
    assert among.verdict != NOT_WITHSTOOD


@pytest.mark.parametrize(
    ("members", "others", "why"),
    [
        ([], np.arange(20), "There are 0 members"),
        (np.arange(20), np.arange(FEWEST - 1), "There are 9 others"),
        (np.full(20, 2.0), np.full(20, 2.0), "All 40 scores are 2"),
        (np.arange(20), np.r_[np.arange(19), np.nan], "1 of 20 scores of others are NaN or infinite"),
    ],
)
def test_scores_that_say_nothing_are_not_measured_and_named(members, others, why):
    faulty = Scores(members, others)
    result = auc_result("guess", [({"how": "loss"}, faulty, None, None)])
    assert result.verdict == NOT_MEASURED
    assert result.score is None
    assert why in result.reason
    fine = drawn(0, 1.0, (20, 20))
    both = auc_result("guess", [({"how": "loss"}, faulty, None, None), ({"how": "zlib"}, fine, None, None)])
    assert both.score == fine.auc
    assert why in both.details["left_out"][0]["why"]
    null = auc_result("guess", [({"how": "loss"}, fine, faulty, None)])
    assert null.verdict == NOT_MEASURED
    assert null.reason.startswith("Of the null: ")


def test_no_attempt_at_all_is_not_measured():
    assert auc_result("guess", []).verdict == NOT_MEASURED


def test_an_original_that_gives_nothing_away_either_is_named():
    assert "of the original" in auc_result("guess", [({}, drawn(0), None, drawn(1))]).reason


def test_models_scored_on_other_cases_are_refused():
    with pytest.raises(ValueError, match=re.escape("(300, 300)")):
        auc_difference(drawn(0), drawn(0, sizes=(300, 20)))


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="`others` has shape"):
        Scores(np.zeros(3), np.zeros((3, 2)))


def test_an_auc_without_a_model_for_a_null_is_held_against_a_half():
    scores = Scores(np.arange(40.0) % 7, np.arange(40.0) % 5)
    result = auc_result("planted", [({}, scores, None, None)])
    assert (result.null, result.null_is) == (0.5, "a half")
