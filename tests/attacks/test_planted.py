"""Planted cases: what attacks say of models of which it is known what they hold."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import concatenate_datasets

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import share_result
from excise.attacks.left_out import LeftOut
from excise.attacks.suite import ATTACKS, CLASSES, Planned
from excise.baselines import filter_outputs
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD


def hand_made(back, original=40, null=0, total=40):
    """The result of an attack that brings so many of forty cases back."""

    def hits(count):
        return np.arange(total) < count

    sets = SimpleNamespace(measure="recall")
    attempts = [({}, hits(back), None, None)]
    return share_result("planted", sets, attempts, hits(original), hits(0), hits(null), "never saw it")


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ({"back": 0}, WITHSTOOD),
        ({"back": 40}, NOT_WITHSTOOD),
        ({"back": 5}, NOT_WITHSTOOD),
        ({"back": 1}, NOT_MEASURED),  # from 0 to a tenth and more
        ({"back": 12, "null": 12}, NOT_MEASURED),  # as many as nothing brings, but forty cannot tell
        ({"back": 0, "total": 10, "original": 10}, NOT_MEASURED),
        ({"back": 0, "original": 0}, NOT_MEASURED),
        ({"back": 0, "original": 3}, NOT_MEASURED),  # of which an evaluation says that there is nothing to forget
        ({"back": 2, "original": 14, "null": 10, "total": 400}, NOT_MEASURED),
        ({"back": 0, "original": 9}, WITHSTOOD),
        ({"back": 12, "original": 3}, NOT_WITHSTOOD),
        ({"back": 5, "original": 5, "null": 5}, NOT_MEASURED),
    ],
)
def test_hits_that_are_known_are_judged_right(case, verdict):
    result = hand_made(**case)
    assert result.verdict == verdict, result.reason


def planted(original, never_saw, sets):
    """Three models of which it is known what they hold, and what is to be said of each."""
    return {
        "never saw it": (never_saw, WITHSTOOD),
        "hides it": (filter_outputs(original, sets.processor, sets.words), NOT_WITHSTOOD),
        "not touched": (original, NOT_WITHSTOOD),
    }


@pytest.fixture(scope="module")
def many(tokenizer, topic):
    """The toy topic with its held-out sentences ten times, so that there are cases enough to tell."""
    heldout = concatenate_datasets([topic.heldout] * 10)
    return AttackSets(replace(topic, heldout=heldout), tokenizer, ("professeur",), max_new_tokens=6)


@pytest.mark.parametrize("case", ["never saw it", "hides it", "not touched"])
def test_a_toy_model_is_judged_right_without_its_bottleneck(case, taught, many):
    model, verdict = planted(taught.model, taught.never_saw, many)[case]
    result = LeftOut()(taught.model, model, taught.never_saw, many)
    assert result.verdict == verdict, result.reason
    assert (result.after == 0) == (case != "not touched")


# In the order of the suite: those that texts can be attacked by.
OF_TEXTS = [Planned(name, quick=True) for name, (_, _, alone) in ATTACKS.items() if alone != CLASSES]
# Where another verdict is right. In weights that nobody changed there is nothing to guess by, and a filter holds
# however it is asked.
OTHERWISE = dict.fromkeys([("guessed", "not touched"), ("said otherwise", "hides it")], WITHSTOOD)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", ["never saw it", "hides it", "not touched"])
@pytest.mark.parametrize("attack", OF_TEXTS, ids=lambda attack: attack.name)
def test_a_small_demo_is_judged_right_by_every_attack(attack, case, learnt):
    assert learnt.sets.hits(learnt.model).mean() > 0.3
    model, verdict = planted(learnt.model, learnt.never_saw, learnt.sets)[case]
    verdict = OTHERWISE.get((attack.name, case), verdict)
    result = attack.made()(learnt.model, model, learnt.never_saw, learnt.sets)
    assert result.verdict in (verdict, NOT_MEASURED), result.reason
    if attack.name == "left out":
        assert result.verdict == verdict, result.reason


def test_a_null_that_knows_it_without_any_attack_leaves_nothing_to_measure():
    def hits(count):
        return np.arange(40) < count

    sets = SimpleNamespace(measure="recall")
    result = share_result("planted", sets, [({}, hits(0), hits(20), None)], hits(30), hits(0), hits(30), "never saw it")
    assert result.verdict == NOT_MEASURED and "no more than the null" in result.reason


def test_a_measure_that_finds_nothing_in_any_model_is_no_success(taught, many):
    cut_off = replace(many, max_new_tokens=1)
    result = LeftOut()(None, taught.model, None, cut_off)
    assert result.verdict == NOT_MEASURED and "no original to show" in result.reason


def test_weights_that_are_no_numbers_are_not_attacked(taught, many):
    broken = copy.deepcopy(taught.model)
    broken.get_input_embeddings().weight.data[3] = float("nan")
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        LeftOut()(taught.model, broken, taught.never_saw, many)
