"""Relearning: steps until half of what was lost is back, against a model that never saw it."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from excise.attacks import LearntAgain
from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import attackers_copy, opened, ratio_of_means
from excise.attacks.learning import (
    Curve,
    Setting,
    Trainings,
    Watch,
    class_scores,
    in_training,
    learn,
    loss_on,
    steps_to,
)
from excise.attacks.learnt_again import verdict_of
from excise.attacks.rounded import in_dynamic_int8
from excise.data.classes import class_sets
from excise.ledger.embeddings import guard_tables, overwrite_rows
from excise.report.attacks import AttackResult
from excise.storage.digests import digest
from tests.helpers import tiny

QUICK = LearntAgain(examples=(8,), rates=(3e-2,), judged_examples=8, judged_rate=3e-2, draws=3, unrelated=0, cases=40)
QUICK = replace(QUICK, parts=("all weights",), ways=("as shared",), steps=8)


# peft asks every model for it
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


def state(*models):
    return [digest({}, model.state_dict()) for model in models]


# The rule


@pytest.mark.parametrize(
    ("hits", "steps"),
    [([0, 4, 12], 1.5), ([9, 12], 0.0), ([0, 8], 1.0), ([0, 1, 7], 20.0), ([5, 3, 11], 1.625), ([0], 20.0)],
)
def test_steps_are_read_between_those_that_were_measured(hits, steps):
    assert steps_to(Curve(range(len(hits)), hits), 8, most=20) == steps


def test_steps_between_sparse_ones_grow_evenly():
    assert steps_to(Curve([0, 5, 10], [0, 0, 10]), 5, most=20) == 7.5


def test_the_ratio_is_that_of_means_and_its_interval_holds_it():
    ratio, low, high = ratio_of_means([1, 2, 3, 2, 2], [4, 4, 5, 3, 4])
    assert ratio == pytest.approx(0.5)
    assert 0.3 < low < ratio < high < 0.7
    assert ratio_of_means([1, 2, 3, 2, 2], [4, 4, 5, 3, 4]) == (ratio, low, high)


def test_the_interval_is_that_of_scipys_paired_bootstrap():
    from scipy.stats import bootstrap

    own, null = np.array([1.0, 2, 3, 2, 4]), np.array([4.0, 6, 5, 3, 4])
    reference = bootstrap(
        (own, null),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
    ).confidence_interval
    assert ratio_of_means(own, null, resamples=20_000)[1:] == pytest.approx(tuple(reference), abs=0.02)


def test_draws_that_are_all_the_same_have_an_interval_without_width():
    assert ratio_of_means([20.0] * 5, [20.0] * 5) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("own", "null"), [([], []), ([1.0], [0.0])])
def test_nothing_and_a_null_of_no_steps_have_no_ratio(own, null):
    with pytest.raises(ValueError, match="expected at least one, and all above 0"):
        ratio_of_means(own, null)


@pytest.mark.parametrize(
    ("ratio", "interval", "verdict"),
    [
        (0.8, (0.5, 0.9), "withstood"),
        (0.5, (0.4, 0.79), "not withstood"),
        (0.7, (0.4, 0.9), "not measured"),
        (0.9, None, "not measured"),
        (0.0, (0.0, 0.0), "not withstood"),
    ],
)
def test_the_verdict_follows_the_rule(ratio, interval, verdict):
    assert verdict_of(ratio, interval, draws=5)[0] == verdict


# Planted cases


def test_a_model_that_never_saw_the_topic_withstands(texts):
    models = texts.original, texts.never_saw
    before = state(*models)
    result = QUICK(texts.original, texts.never_saw, texts.never_saw, texts.sets)
    assert result.verdict == "withstood", result.reason
    assert result.score == result.null == 1.0 and tuple(result.interval) == (1.0, 1.0)
    assert (result.before, result.after) == (1.0, 0.0)
    assert [attempt.curve for attempt in result.attempts] == [attempt.null_curve for attempt in result.attempts]
    assert all(0 < attempt.score == attempt.null < 8 for attempt in result.attempts)
    assert state(*models) == before
    assert AttackResult.from_dict(json.loads(json.dumps(result.to_dict()))).row() == result.row()


def test_a_model_without_a_bottleneck_is_attacked_as_the_baselines_are(texts):
    original, never_saw = opened(texts.original), opened(texts.never_saw)
    result = QUICK(original, never_saw, never_saw, texts.sets)
    assert (result.verdict, result.score) == ("withstood", 1.0), result.reason
    assert QUICK(original, original, never_saw, texts.sets).verdict == "not withstood"


def test_a_model_that_was_not_touched_does_not_withstand(texts):
    result = QUICK(texts.original, texts.original, texts.never_saw, texts.sets)
    assert result.verdict == "not withstood" and result.score == 0.0
    assert "0.00 steps" in result.reason


def test_a_model_whose_codes_are_deleted_is_opened_by_the_plain_class_and_needs_no_step(texts):
    attack = replace(QUICK, ways=("as shared", "plain class"), parts=("all weights", "bottleneck", "LoRA"), steps=4)
    result = attack(texts.original, texts.removed, texts.never_saw, texts.sets)
    assert result.verdict == "not withstood" and "plain class" in result.reason
    lines = {(line["trained"], line["opened"]): line for line in result.details["judged"]}
    assert lines["all weights", "plain class"]["steps"] == 0.0 < lines["all weights", "as shared"]["steps"]
    assert len(lines) == 5 and all(line["draws"] == 3 for line in lines.values())
    assert "bottleneck, plain class: there is no bottleneck to train." in result.details["skipped"]


def test_few_rows_leave_numbers_of_examples_out_and_name_them(texts):
    attack = replace(QUICK, examples=(1, 500), steps=2, draws=1)
    result = attack(texts.original, texts.never_saw, texts.never_saw, texts.sets)
    assert "500 examples of topic rows: there are 24." in result.details["skipped"]
    assert {attempt.settings["examples"] for attempt in result.attempts} == {1, 8}
    assert result.verdict == "not measured"


def test_too_few_rows_for_any_number_of_examples_are_refused_with_both(texts):
    with pytest.raises(ValueError, match=r"\[30, 40\] examples needs 30, and there are 24"):
        replace(QUICK, examples=(30, 40))(texts.original, texts.original, None, texts.sets)


def test_without_examples_enough_for_the_verdict_it_is_not_measured(texts):
    result = replace(QUICK, judged_examples=25, steps=1)(texts.original, texts.never_saw, texts.never_saw, texts.sets)
    assert result.verdict == "not measured" and "25 examples at 0.03, which could not be tried" in result.reason


def test_without_a_model_that_never_saw_it_steps_are_given_and_nothing_judged(texts):
    result = QUICK(texts.original, texts.never_saw, None, texts.sets)
    assert result.verdict == "not measured" and "no model that never saw it" in result.reason
    assert result.score is None and result.details["judged"][0]["steps"] > 0
    assert all(attempt.null is None and not attempt.null_curve for attempt in result.attempts)


def test_without_the_original_or_with_nothing_lost_it_is_not_measured(texts):
    assert "Without the original" in QUICK(None, texts.never_saw, texts.never_saw, texts.sets).reason
    result = QUICK(texts.never_saw, texts.never_saw, texts.never_saw, texts.sets)
    assert result.verdict == "not measured" and "no half of what was lost" in result.reason
    assert not result.attempts


def test_a_training_that_diverges_is_named_and_not_counted(texts):
    broken = copy.deepcopy(texts.never_saw)
    with torch.no_grad():
        broken.decoder.final_layer_norm.weight.fill_(3e38)
    result = QUICK(texts.original, broken, texts.never_saw, texts.sets)
    assert result.verdict == "not measured" and "diverged" in result.reason
    assert [line["draw"] for line in result.details["diverged"]] == [0, 1, 2]


def test_unrelated_examples_do_not_bring_back_what_was_never_known(texts):
    result = replace(QUICK, unrelated=12, draws=1, full_curves=True)(
        texts.original, texts.never_saw, texts.never_saw, texts.sets
    )
    unrelated = [attempt for attempt in result.attempts if attempt.settings["data"] == "unrelated"]
    assert len(unrelated) == 1 and set(unrelated[0].curve) == {0}
    assert unrelated[0].settings["measured_at"] == [0, 1, 2, 3, 5, 7, 8]
    assert {len(attempt.curve) for attempt in result.attempts if attempt not in unrelated} == {9}


def test_the_whole_grid_has_every_number_of_examples_at_every_rate(texts):
    settings, _ = LearntAgain()._settings(texts.original, texts.sets)
    grid = {(one.examples, one.rate) for one in settings if one.data == "topic"}
    assert grid == {(count, rate) for count in (1, 4, 16) for rate in (3e-4, 1e-3, 3e-3)}
    judged = {(one.trained, one.opened) for one in settings if LearntAgain()._is_judged(one) and one.data == "topic"}
    assert len(judged) == 5


@pytest.mark.parametrize(
    "wrong", [{"examples": ()}, {"rates": (0.0,)}, {"parts": ("head",)}, {"ways": ()}, {"steps": 0}, {"draws": 0}]
)
def test_settings_that_try_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        LearntAgain(**wrong)


def test_a_model_without_numbers_is_refused(texts):
    with pytest.raises(ValueError, match="meta device"):
        QUICK(texts.original, copy.deepcopy(texts.original).to("meta"), None, texts.sets)


# Training


def test_only_the_part_that_is_named_is_trained(texts):
    batch = texts.sets.training_batch(texts.sets.topic.target, texts.original.device)
    for part in ("bottleneck", "LoRA"):
        model = in_training(copy.deepcopy(texts.original), part, seed=0)
        names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert names and all((".bottleneck." if part == "bottleneck" else "lora_") in f".{name}" for name in names)
        before = texts.sets.hits(model).tolist()
        assert before == texts.sets.hits(texts.original).tolist()
        assert list(learn(model, [batch], lambda of, one: loss_on(of, one, texts.sets), 1e-3, 2)) == [1, 2]


def test_a_training_ends_before_a_loss_that_is_no_number():
    layer = torch.nn.Linear(2, 1)
    losses = iter([1.0, float("nan"), 1.0])
    steps = learn(layer, [{}], lambda model, _: next(losses) * model.weight.sum(), 0.1, 3)  # type: ignore[arg-type]
    assert list(steps) == [1] and layer.weight.isfinite().all()


def test_an_attackers_copy_can_move_embedding_rows_that_were_erased(texts):
    removed = copy.deepcopy(texts.never_saw)
    overwrite_rows(removed.shared.weight, [4])
    guard_tables(removed, {"shared.weight": [4]}, vouched=True)
    batch = texts.sets.training_batch(texts.sets.topic.target, removed.device)
    attacked = in_training(attackers_copy(removed), "all weights", 0)
    list(learn(attacked, [batch], lambda of, one: loss_on(of, one, texts.sets), 1e-2, 3))
    assert not torch.allclose(attacked.shared.weight[4], removed.shared.weight[4], atol=1e-2)
    before = attacked.shared.weight.clone()
    with torch.no_grad():
        attacked(**batch)
    assert torch.equal(attacked.shared.weight, before)
    attackers_copy(removed).load_state_dict(removed.state_dict())
    with torch.no_grad():
        assert in_dynamic_int8(attackers_copy(removed))(**batch).loss.isfinite()


# Classes


@pytest.fixture(scope="module")
def colours():
    sets = class_sets(tiny.images(240), "red", test=tiny.images(90, seed=1), min_examples=5, max_examples=30)
    return AttackSets(sets, tiny.clip_processor())


def test_scores_of_a_clip_tell_the_classes_that_it_is_evaluated_by(colours):
    torch.manual_seed(0)
    model = tiny.codebook_clip()
    assert Watch(colours)(model) == colours.hits(model).sum()
    inputs = colours.training_batch(colours.topic.target, model.device)
    labels = inputs.pop("labels")
    assert class_scores(model, inputs, colours).shape == (len(labels), 3)


def test_a_clip_that_never_saw_a_class_withstands_and_an_untouched_one_does_not(colours):
    torch.manual_seed(0)
    start = tiny.codebook_clip()

    def trained(rows):
        model = in_training(copy.deepcopy(start), "all weights", 0)
        batch = colours.training_batch(rows, model.device)
        list(learn(model, [batch], lambda of, one: loss_on(of, one, colours), 1e-2, 40))
        return model

    everything = tiny.images(60)
    original = trained(everything)
    never_saw = trained(everything.filter(lambda row: row["label"] != 0))
    attack = replace(QUICK, rates=(2e-2,), judged_rate=2e-2, cases=20)
    result = attack(original, never_saw, never_saw, colours)
    assert (result.verdict, result.score) == ("withstood", 1.0), result.reason
    assert result.before > 0.9 and result.after < 0.1
    assert attack(original, original, never_saw, colours).verdict == "not withstood"


def test_a_model_with_a_frozen_encoder_trains_its_values_and_says_what_it_lacks(pairs_of_colours):
    sets, original, never_saw = pairs_of_colours
    attack = replace(QUICK, rates=(3e-2,), judged_rate=3e-2, ways=("as shared", "plain class"), cases=20, steps=12)
    attack = replace(attack, parts=("all weights", "LoRA"), values_at=1)
    result = attack(original, never_saw, never_saw, sets)
    assert (result.verdict, result.score) == ("withstood", 1.0), result.reason
    assert any("no plain class" in line for line in result.details["skipped"])
    assert any("frozen" in line for line in result.details["skipped"])
    assert attack(original, original, never_saw, sets).verdict == "not withstood"


def test_values_are_trained_as_shared_at_their_own_rate_and_quickly_too(pairs_of_colours):
    """Key-value pairs have no plain class, which is all that the quick set opens elsewhere."""
    sets, original, never_saw = pairs_of_colours
    result = replace(LearntAgain.quick(), cases=20, draws=3)(original, never_saw, never_saw, sets)
    assert (result.verdict, result.score) == ("withstood", 1.0), result.reason
    assert {(one.settings["opened"], one.settings["rate"]) for one in result.attempts} == {("as shared", 0.1)}
    with pytest.raises(ValueError, match="values_at=0: expected"):
        replace(QUICK, values_at=0)


def test_a_part_that_nobody_can_train_is_refused_with_the_reason(pairs_of_colours):
    sets, original, never_saw = pairs_of_colours
    with pytest.raises(ValueError, match=r"encoder is frozen.* none of the attempts can be run"):
        replace(QUICK, parts=("LoRA",))(original, never_saw, never_saw, sets)


def test_encodings_are_made_once_and_judge_alike(pairs_of_colours):
    sets, original, _ = pairs_of_colours
    encoded = sets.with_encodings(original)
    assert encoded.hits(original).tolist() == sets.hits(original).tolist()
    assert encoded.quality(original) == sets.quality(original)
    assert encoded.with_encodings(original).topic.heldout is encoded.topic.heldout
    trainings = Trainings([original], sets, cases=10, steps=1)
    assert trainings.total == 10 and trainings.start(original) == Watch(sets.first(10))(original)
    assert Setting(8, 0.1).impossible(original) is None
