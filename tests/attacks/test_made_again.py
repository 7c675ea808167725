"""Codes made again: from examples, from neighbours, and from nothing."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from excise import Unlearner
from excise.attacks import LeftOut, MadeAgain
from excise.attacks.interface import attackers_copy
from excise.attacks.made_again import drawn_instead, new_codes, train_values
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.models.plain import export_plain
from excise.report.attacks import AttackResult
from excise.storage.digests import digest

QUICK = MadeAgain(examples=(8,), draws=1, multiples=(1, 2))


def test_codes_made_of_eight_sentences_bring_back_what_was_deleted(texts):
    models = texts.original, texts.removed, texts.never_saw
    before = [digest({}, model.state_dict()) for model in models]
    result = QUICK(*models, texts.sets)
    assert (result.before, result.after, result.null) == (1.0, 0.0, 0.0)
    assert result.verdict == "not withstood" and result.score == 1.0, result.reason
    hits = {attempt.settings["how"]: attempt.hits for attempt in result.attempts}
    assert hits["encoded features"] == 40 and hits["no data"] == 0
    assert set(hits) == {"no data", "encoded features", "surviving neighbours", "residual"}
    assert all(attempt.quality is not None and attempt.null == 0.0 for attempt in result.attempts)
    assert [digest({}, model.state_dict()) for model in models] == before
    assert AttackResult.from_dict(json.loads(json.dumps(result.to_dict()))).row() == result.row()


def test_sparse_units_made_of_eight_sentences_bring_back_what_was_deleted(texts_of_units):
    original, removed, sets = texts_of_units.original, texts_of_units.removed, texts_of_units.sets
    before = digest({}, removed.state_dict())
    result = QUICK(original, removed, None, sets)
    assert result.before == 1.0 and result.after < 0.9  # what it answers in place of it depends on the processor
    hits = {attempt.settings["how"]: attempt.hits for attempt in result.attempts}
    assert hits["encoded features"] == 40 and hits["residual"] > result.after * 40
    assert set(hits) == {"no data", "encoded features", "surviving neighbours", "residual"}
    made = [attempt for attempt in result.attempts if "share" in attempt.settings]
    assert {attempt.settings["share"] for attempt in made} == set(QUICK.shares)
    assert digest({}, removed.state_dict()) == before
    left_out = LeftOut()(original, removed, None, sets)
    assert [attempt.settings["how"] for attempt in left_out.attempts] == ["plain class", "no codes"]
    assert left_out.details["moved_behind_the_bottleneck"] == 0.0  # nothing goes around the units


def test_a_model_that_never_saw_the_topic_withstands(texts):
    deleted = copy.deepcopy(texts.never_saw)
    (site,) = bottlenecks(deleted)
    Unlearner(deleted, None).delete(Selection({site: [0, 1, 2, 3]}), "random")
    result = QUICK(texts.original, deleted, texts.never_saw, texts.sets)
    assert result.verdict == "withstood", result.reason
    assert all(attempt.hits == 0 for attempt in result.attempts)


def test_a_model_that_was_not_touched_does_not_withstand_and_has_no_rows_to_write(texts):
    result = QUICK(texts.original, texts.original, texts.never_saw, texts.sets)
    assert result.verdict == "not withstood"
    assert {attempt.settings["how"] for attempt in result.attempts} == {"no data"}
    assert list(result.details["dead"].values()) == [0]
    assert result.details["skipped"] == ["8 examples: there are no dead codes to write."]


def test_codes_that_are_only_masked_come_back_without_data(texts):
    masked = copy.deepcopy(texts.original)
    (site,) = bottlenecks(masked)
    codes = (~bottlenecks(texts.removed)[site].live).nonzero().flatten().tolist()
    Unlearner(masked, None).mask(Selection({site: codes}), "teacher")
    result = QUICK(texts.original, masked, texts.never_saw, texts.sets)
    assert result.after == 0.0 and result.attempts[0].settings == {"how": "no data", "multiple": 1}
    assert result.attempts[0].score == 1.0


def test_few_sentences_leave_numbers_of_examples_out_and_none_is_refused(texts):
    models = texts.original, texts.removed, None
    result = replace(QUICK, examples=(1, 64), multiples=(1,))(*models, texts.sets)
    assert result.details["skipped"] == ["64 examples: there are 24."]
    with pytest.raises(ValueError, match=r"\[64\] examples needs 64, and there are 24"):
        replace(QUICK, examples=(64,))(*models, texts.sets)


def test_a_model_without_bottlenecks_has_no_codes_to_make(texts):
    plain = export_plain(texts.original, brings_back_what_was_forgotten=True)
    result = QUICK(texts.original, plain, texts.never_saw, texts.sets)
    assert result.verdict == "not measured" and "no bottleneck" in result.reason


def test_a_reference_without_bottlenecks_is_the_null_as_it_is(texts):
    plain = export_plain(texts.never_saw, brings_back_what_was_forgotten=True)
    result = replace(QUICK, multiples=(1,))(texts.original, texts.removed, plain, texts.sets)
    assert result.verdict == "not withstood" and {attempt.null for attempt in result.attempts} == {0.0}


def test_values_of_deleted_pairs_are_trained_again_and_no_others(pairs_of_colours):
    sets, original, never_saw = pairs_of_colours
    removed = copy.deepcopy(original)
    red = (original.bottleneck.by_code(original.bottleneck.values).argmax(-1) == 0).nonzero().flatten()
    Unlearner(removed, sets.processor).delete(Selection({"bottleneck": red.tolist()}), "red")
    before = [digest({}, model.state_dict()) for model in (original, removed, never_saw)]
    result = replace(QUICK, steps=5, rate=0.3)(original, removed, never_saw, sets)
    assert {attempt.settings["how"] for attempt in result.attempts} == {"no data", "values trained again"}
    assert result.before > 0.9 and result.after < result.score
    assert result.attempts[1].null > 0.5  # a model that never saw the class learns it as well
    assert [digest({}, model.state_dict()) for model in (original, removed, never_saw)] == before

    attacked, dead = attackers_copy(removed), ~removed.bottleneck.live
    train_values(attacked, {"bottleneck": dead}, sets, examples=8, draw=0, steps=3, rate=0.3)
    made = attacked.bottleneck.live & dead
    for name in ("keys", "values"):
        of_attacked, of_removed = (m.bottleneck.by_code(getattr(m.bottleneck, name)) for m in (attacked, removed))
        assert torch.equal(of_attacked[~made], of_removed[~made]) and of_attacked[made].count_nonzero() > 0


@pytest.mark.parametrize(
    "wrong", [{"examples": ()}, {"multiples": ()}, {"examples": (0,)}, {"draws": 0}, {"rate": 0.0}, {"shares": (1.0,)}]
)
def test_settings_that_try_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        MadeAgain(**wrong)


def test_codes_sum_to_the_features_that_they_stand_for():
    torch.manual_seed(0)
    features, live = torch.randn(3, 16), torch.randn(40, 16)
    made = new_codes(features, live, 9, 4, "encoded features")
    assert made.shape == (8, 16) and torch.allclose(made[:4].sum(0), features[0])
    lacking = new_codes(features, live, 9, 4, "residual")
    near = torch.cosine_similarity(features[:, None], live, dim=-1).topk(3).indices
    assert torch.allclose(lacking + live[near].sum(1), features, atol=1e-5)
    # with as many neighbours as dimensions the fit is exact
    assert torch.allclose(new_codes(features, live, 9, 4, "surviving neighbours"), made, atol=1e-4)
    assert len(new_codes(features, live, 2, 4, "encoded features")) == 2


def test_as_many_codes_are_drawn_in_the_place_of_dead_ones(texts):
    (site,) = bottlenecks(texts.never_saw)
    dead = ~bottlenecks(texts.removed)[site].live
    drawn = drawn_instead(texts.never_saw, {site: dead}, seed=0)
    assert int(drawn[site].sum()) == int(dead.sum()) > 0
    assert drawn_instead(texts.never_saw, {"elsewhere": dead}, seed=0) is None
