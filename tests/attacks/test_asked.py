"""Attacks on questions that a decoder was to forget: what is asked, what comes back, and how it is judged."""

import copy

import numpy as np
import pytest

from excise import Search, Unlearner
from excise.attacks import AskedSets, LearntAgain, LeftOut, MadeAgain, Probed, Rounded, SaidOtherwise, TextMembership
from excise.attacks.mean_rule import mean_result
from excise.data import question_sets
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD, AttackReport
from tests.helpers.asked import asked_rows


@pytest.fixture(scope="module")
def sets(asked, padded_tokenizer):
    return AskedSets(asked.sets, padded_tokenizer, holdout=asked_rows("Omar", paraphrased=False))


def test_no_row_is_an_attackers_and_asked_afterwards(asked, sets):
    own, judged = ({*part["question"][:]} for part in (sets.topic.target, sets.topic.heldout))
    assert not own & judged and own | judged == {row["question"] for row in asked.go}
    assert sets.topic.heldout[0]["answer"] in ("In Oslo.", "In Lima."), "as it was learnt"
    assert sets.data == asked.sets.digest()


def test_a_score_is_tofus_probability_of_answers(asked, sets, padded_tokenizer):
    from excise.evaluation import evaluate_questions

    rows = sets.topic.heldout.to_list()
    scores = evaluate_questions(asked.original, padded_tokenizer, {"forget": rows}, generate=False)
    assert sets.hits(asked.original).mean() == pytest.approx(scores["forget_Q_A_Prob"], abs=1e-6)


def test_answers_of_a_model_that_stays_are_read_once_and_of_one_that_changes_anew(asked, sets, monkeypatch):
    read = []
    own = AskedSets.probabilities
    monkeypatch.setattr(AskedSets, "probabilities", lambda *args: read.append(1) or own(*args))
    model = copy.deepcopy(asked.removed)
    sets.keep(model)
    before = sets.hits(model)
    assert sets.hits(model) is before and len(read) == 1
    model.lm_head.weight.data.mul_(0.5)
    assert abs(sets.hits(model) - before).max() > 1e-3 and len(read) == 2


def known(mean, spread=0.02, count=30):
    return np.clip(mean + spread * np.sin(np.arange(count)), 0, 1)


JUDGED = {
    "as little as the null": (known(0.1), known(0.1), known(0.8), WITHSTOOD, "At most 0.1"),
    "half of what was lost": (known(0.45), known(0.1), known(0.8), NOT_WITHSTOOD, "above the null"),
    "a little for sure": (known(0.21), known(0.1), known(0.8), NOT_WITHSTOOD, "above the null"),
    "nothing was known": (known(0.1), known(0.1), known(0.1), NOT_MEASURED, "nothing to bring back"),
    "the null knows more than the original": (known(0.3), known(0.9), known(0.8), NOT_MEASURED, "nothing to bring"),
    "some rows wholly, others not": (
        np.arange(30) % 6 == 0,
        known(0.05),
        known(0.8),
        NOT_MEASURED,
        "30 cases are too few",
    ),
    "nine answers": (known(0.45, count=9), known(0.1, count=9), known(0.8, count=9), NOT_MEASURED, "9 answers are too"),
    "one answer": (known(0.45, count=1), known(0.1, count=1), known(0.8, count=1), NOT_MEASURED, "1 answers are too"),
    "no model that never saw it": (known(0.45), None, known(0.8), NOT_MEASURED, "Give `never_saw`"),
    "no original, and little comes back": (known(0.1), known(0.1), None, NOT_MEASURED, "no original to show"),
    "no original, and much comes back": (known(0.5), known(0.1), None, NOT_WITHSTOOD, "above the null"),
}


@pytest.mark.parametrize("what", JUDGED)
def test_means_are_judged_where_there_is(what):
    attacked, null, original, verdict, why = JUDGED[what]
    attempts = [({}, np.asarray(attacked, dtype=float), None, None)]
    removed = known(0.1, count=len(attacked))
    result = mean_result("planted", "probability", attempts, original, removed, null, "never saw it")
    assert result.verdict == verdict and why in result.reason
    assert result.score == pytest.approx(np.mean(attacked))


PLANTED = {
    "what never saw it": ("never_saw", WITHSTOOD),
    "what was not touched": ("original", NOT_WITHSTOOD),
    "codes deleted before base weights that know it": ("removed", NOT_WITHSTOOD),
}


@pytest.mark.parametrize("attack", [LeftOut(), Rounded(formats=("int8",), noise=())], ids=lambda one: one.name)
@pytest.mark.parametrize("what", PLANTED)
def test_planted_models_are_judged_right(asked, sets, what, attack):
    which, verdict = PLANTED[what]
    result = attack(asked.original, getattr(asked, which), asked.never_saw, sets)
    assert result.verdict == verdict, result.reason
    assert result.measure == "probability" and result.null < 0.05 < result.before
    if attack.name == "left out":
        assert result.details["moved_behind_the_bottleneck"] == 0
        assert {one.settings["how"] for one in result.attempts} == {"plain class", "no codes"}


def test_codes_are_made_again_from_questions(asked, sets):
    result = MadeAgain(examples=(8,), draws=1, multiples=(1,))(asked.original, asked.removed, asked.never_saw, sets)
    assert {one.settings["how"] for one in result.attempts} >= {"encoded features", "no data"}
    assert result.verdict == NOT_WITHSTOOD


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks it
@pytest.mark.parametrize("part", ["all weights", "LoRA", "bottleneck"])
def test_it_is_learnt_again(asked, sets, part):
    options = {"rates": (1e-2,), "judged_rate": 1e-2, "parts": (part,), "ways": ("as shared",), "unrelated": 0}
    attack = LearntAgain(examples=(16,), steps=3, draws=3, cases=8, answers_at=1, **options)
    result = attack(asked.original, asked.removed, asked.never_saw, sets)
    assert result.details["judged"] or part == "bottleneck", result.reason
    assert result.attempts and all(one.curve[-1] > one.curve[0] for one in result.attempts)
    assert all(isinstance(one.curve[0], float) for one in result.attempts)


def test_the_quick_attack_reads_as_few_rows_as_is_said():
    quick = LearntAgain.quick_of_questions()
    trained = quick.steps * quick.judged_examples * 3 + (quick.steps + 1) * quick.cases
    others = 3 * 40 + 2 * 60 + 4 * 60 + 2 * 100
    assert 2 * quick.draws * trained + others <= 2900


def test_questions_are_said_otherwise(asked, sets):
    result = SaidOtherwise()(asked.original, asked.removed, asked.never_saw, sets)
    wordings = {"paraphrased question", "paraphrased question and answer", "plain template"}
    assert {one.settings["how"] for one in result.attempts} >= wordings | {"case: upper"}
    assert all(one.null is not None for one in result.attempts) and result.verdict == NOT_WITHSTOOD


def test_what_was_trained_on_is_told_from_a_holdout(asked, sets):
    result = TextMembership(most=18)(asked.original, asked.original, asked.never_saw, sets)
    ways = ["loss", "min-k", "min-k++", "zlib", "reference", "gradient norm"]
    assert [one.settings["how"] for one in result.attempts] == ways
    assert result.details["examples"] == [18, 18] and result.details["memorised"]["original"]["probability"] > 0.4


def test_a_person_is_read_from_states_held_against_other_names(asked, padded_tokenizer):
    pytest.importorskip("sklearn")
    others = ["Rosa Lopes", "Ana Silva", "Tomas"]
    named = question_sets(asked.go + asked.stay, padded_tokenizer, ["Hina", "Jaime"], other_names=others, heldout=0.2)
    attack = Probed(examples=(8,), hidden=2)
    result = attack(asked.original, asked.removed, asked.never_saw, AskedSets(named, padded_tokenizer))
    assert any("word" in place for place in result.details["places"])


def test_the_unlearner_attacks_what_it_has_masked(asked, padded_tokenizer, tmp_path):
    unlearner = Unlearner(copy.deepcopy(asked.original), padded_tokenizer)
    unlearner.forget(asked.sets, Search("activations", count=20), progress=False)
    options = {"never_saw": asked.never_saw, "checkpoint": tmp_path / "kept", "progress": False}
    report = unlearner.attack(asked.sets, **options)
    assert [one.attack for one in report.results] == ["left out", "made again", "learnt again", "rounded"]
    assert report.results[0].verdict == NOT_WITHSTOOD and report.topic == "two persons"
    assert report.settings["data"] == asked.sets.digest()
    report.save(tmp_path / "attacks.json")
    assert AttackReport.load(tmp_path / "attacks.json").to_dict() == report.to_dict()
    assert unlearner.attack(asked.sets, **options).to_dict() == report.to_dict(), "kept"
