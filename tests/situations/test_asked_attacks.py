"""Attacks on questions: what rows, models and settings they take, and what is said of others."""

import copy
import warnings

import numpy as np
import pytest

from excise import Search, Unlearner
from excise.attacks import AskedSets, LearntAgain, LeftOut, SaidOtherwise, TextMembership
from excise.data import question_sets
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD
from tests.helpers.asked import asked_rows


def without(rows, *columns):
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]


PARAPHRASES = ("paraphrased_question", "paraphrased_answer")
# What is asked, and how many rows are the attacker's and are asked.
DIVIDED = {
    "all rows, held out in other words": (lambda go: go, {"heldout": 0}, (18, 18)),
    "an odd number of rows": (lambda go: go[:21], {"heldout": 0}, (10, 11)),
    "one row": (lambda go: go[:1], {"heldout": 0}, (0, 1)),
    "rows held out": (lambda go: go, {"heldout": 0.5}, (18, 18)),
    "no paraphrases": (lambda go: without(go, *PARAPHRASES), {"heldout": 0.5}, (18, 18)),
    "duplicates": (lambda go: go + go[:9], {"heldout": 0}, (18, 18)),
    "documents without questions": (
        lambda go: [{"text": f"{row['question']} {row['answer']}"} for row in go],
        {"heldout": 0.5},
        (18, 18),
    ),
}


@pytest.mark.parametrize("what", DIVIDED)
def test_rows_are_the_attackers_or_are_asked(asked, padded_tokenizer, what):
    made, options, sizes = DIVIDED[what]
    stay = without(asked.stay, *PARAPHRASES) if options["heldout"] else asked.stay
    sets = question_sets(made(asked.go), padded_tokenizer, retain=stay, **options)
    attacked = AskedSets(sets, padded_tokenizer)
    assert (len(attacked.topic.target), len(attacked.topic.heldout)) == sizes
    values = attacked.hits(asked.original)
    assert values.shape == (sizes[1],) and np.isfinite(values).all()


def test_sides_of_padding_give_the_same_answers(asked, padded_tokenizer):
    right = copy.deepcopy(padded_tokenizer)
    right.padding_side = "right"
    left, other = (AskedSets(asked.sets, one).hits(asked.original) for one in (padded_tokenizer, right))
    np.testing.assert_allclose(left, other, rtol=1e-6)


def test_answers_that_are_cut_off_are_not_asked(asked, padded_tokenizer):
    short = copy.deepcopy(padded_tokenizer)
    long = [row | {"question": " ".join([row["question"]] * 12)} for row in asked.go[:4]]
    short.model_max_length = 100
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sets = question_sets(long + asked.go[4:], short, retain=asked.stay, heldout=0)
        attacked = AskedSets(sets, short)
        assert np.isfinite(attacked.hits(asked.original)).all()
    assert len(attacked.topic.target) + len(attacked.topic.heldout) < 36
    assert any("answers are cut off before they begin" in str(one.message) for one in told)


SAID = {
    "left out": (LeftOut(), {}, "Without one nobody knows how likely an answer is by its wording alone"),
    "said otherwise": (SaidOtherwise(), {}, "Give `never_saw`"),
    "membership": (TextMembership(most=9), {}, "Give a `holdout`, or `never_saw`."),
}


@pytest.mark.parametrize("what", SAID)
def test_without_a_model_that_never_saw_it_is_not_measured_and_says_so(asked, padded_tokenizer, what):
    attack, options, why = SAID[what]
    result = attack(asked.original, asked.removed, None, AskedSets(asked.sets, padded_tokenizer, **options))
    assert result.verdict == NOT_MEASURED and why in result.reason
    if what != "membership":
        assert result.before > 0.4 and result.score > 0.1, "figures are there all the same"


def test_membership_without_other_rows_is_not_measured(asked, padded_tokenizer):
    plain = question_sets(
        without(asked.go, *PARAPHRASES), padded_tokenizer, retain=without(asked.stay, *PARAPHRASES), heldout=0.5
    )
    attacked = AskedSets(plain, padded_tokenizer)
    result = TextMembership()(asked.original, asked.removed, asked.never_saw, attacked)
    assert result.verdict == NOT_MEASURED and "Give some as `holdout`" in result.reason
    otherwise = SaidOtherwise()(asked.original, asked.removed, asked.never_saw, attacked)
    assert otherwise.verdict == NOT_WITHSTOOD
    assert "no 'paraphrased_question'" in otherwise.details["left out"]["paraphrased question"]


@pytest.fixture(scope="module")
def masked(asked, padded_tokenizer):
    unlearner = Unlearner(copy.deepcopy(asked.original), padded_tokenizer)
    unlearner.forget(asked.sets, Search("activations", count=20), progress=False)
    return unlearner


def other_vocabulary(asked, folder):
    model = copy.deepcopy(asked.never_saw)
    model.resize_token_embeddings(len(model.lm_head.weight) + 8)
    return {"never_saw": model}


def other_tokenizer(asked, folder):
    from excise.data import train_tokenizer

    asked.never_saw.save_pretrained(folder)
    train_tokenizer(["Where does Hina live?", "In Oslo."], 290).save_pretrained(folder)
    return {"never_saw": folder}


REFUSED = {
    "a model of another vocabulary": (other_vocabulary, "must read texts alike"),
    "a folder with another tokenizer": (other_tokenizer, "has a tokenizer of"),
    "a folder that is not there": (lambda asked, folder: {"never_saw": folder / "none"}, "cannot be loaded as a model"),
    "an attack that nobody knows": (lambda asked, folder: {"attacks": "asked"}, "expected one of quick, all"),
    "an empty holdout": (lambda asked, folder: {"holdout": []}, "no .*rows|rows|columns"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_attack_is_refused_with(asked, masked, tmp_path, what):
    options, match = REFUSED[what]
    with pytest.raises(ValueError, match=match):
        masked.attack(asked.sets, **options(asked, tmp_path), progress=False)


def test_a_holdout_is_of_questions_alone(topic, make_model, tokenizer):
    with pytest.raises(ValueError, match="no questions are attacked"):
        Unlearner(make_model(), tokenizer).attack(topic, holdout=asked_rows("Omar"), progress=False)


def test_too_few_rows_to_learn_from_are_told_and_the_other_attacks_go_on(asked, masked, padded_tokenizer):
    few = question_sets(asked.go[:20], padded_tokenizer, retain=asked.stay, heldout=0, title="two persons")
    attacks = ["left out", LearntAgain.quick_of_questions()]
    left_out, learnt = masked.attack(few, never_saw=asked.never_saw, attacks=attacks, progress=False).results
    assert left_out.verdict == NOT_WITHSTOOD
    assert learnt.verdict == NOT_MEASURED and "needs 16, and there are 10" in learnt.reason


def test_a_private_request_tells_no_question(asked, padded_tokenizer):
    unlearner = Unlearner(copy.deepcopy(asked.original), padded_tokenizer)
    private = asked.sets.private_as("request-7")
    unlearner.forget(private, Search("activations", count=20), progress=False)
    report = unlearner.attack(private, never_saw=asked.never_saw, attacks="left out", progress=False)
    assert report.topic == "request-7" and "two persons" not in str(report)
