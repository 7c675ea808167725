"""Notes on an evaluation: nothing to forget, what the bottleneck costs, and how often controls fire."""

import re

import pytest

from excise.report import Evaluation
from excise.statistics import clopper_pearson
from tests.helpers.evidence import class_evaluation, text_evaluation


def texts(*, total=40, **hits: int) -> Evaluation:
    """An evaluation of texts, of which so many hold the topic's word."""
    state = text_evaluation()
    scores = {}
    for name, number in hits.items():
        low, high = clopper_pearson(number, total)
        recall = {"recall": number / total, "hits": number, "total": total, "low": low, "high": high}
        before = state["scores"]["before"]
        scores[name.replace("_", " ")] = {**before, "heldout": before["heldout"] | recall}
    return Evaluation.from_dict(state | {"scores": scores})


def classes(*, total=30, num_classes=4, **hits: int) -> Evaluation:
    """An evaluation of classes, of whose images so many are told."""
    scores = {}
    for name, number in hits.items():
        low, high = clopper_pearson(number, total)
        of_class = {"accuracy": number / total, "hits": number, "total": total, "low": low, "high": high}
        scores[name] = {"heldout": of_class, "heldout_retain": of_class}
    settings = {} if num_classes is None else {"num_classes": num_classes}
    return Evaluation.from_dict(class_evaluation() | {"scores": scores, "settings": settings})


def test_what_the_model_says_often_can_be_forgotten():
    for evaluation in (
        texts(before=28, after=1),
        texts(before=28, word_cut_out=1, after=1),
        classes(before=25, after=0),
    ):
        assert evaluation.nothing_to_forget is None
        assert "othing to forget" not in f"{evaluation!r} {evaluation}"


@pytest.mark.parametrize(
    ("evaluation", "says"),
    [
        (
            texts(before=14, word_cut_out=10, after=1),
            r"topic recall before is 0.350 \[0.206, 0.517\], and with the word ",
        ),
        (texts(before=2, word_cut_out=0, after=0), "with the word cut out 0.000 "),
        (texts(before=1, after=0), r"with none of 40 right 0 \[0.000, 0.088\]"),
        (texts(before=0, after=0), "with none of 40 right 0 "),
        (classes(before=9, after=0), r"accuracy before is 0.300 .*, and by guessing among 4 classes 0.267 \["),
        (classes(before=1, after=0, num_classes=None), "with none of 30 right 0 "),
    ],
)
def test_nothing_to_forget_is_said_where_intervals_overlap(evaluation, says):
    assert evaluation.nothing_to_forget.startswith("Nothing to forget, as far as can be told: ")
    assert re.search(says, evaluation.nothing_to_forget)
    assert repr(evaluation).endswith("; nothing to forget")
    assert evaluation.nothing_to_forget in str(evaluation).splitlines()


def test_where_too_few_were_tried_to_tell_all_from_none_or_there_is_no_before_nothing_is_said():
    few = texts(total=4, before=4, word_cut_out=0, after=0)
    assert "with the word cut out" in few.nothing_to_forget
    assert texts(total=4, before=4, after=0).nothing_to_forget is None
    assert texts(after=0).nothing_to_forget is None
    assert Evaluation.from_dict(text_evaluation(scores={})).nothing_to_forget is None


def test_what_the_bottleneck_costs_is_the_base_model_s_score_that_is_gone_before():
    state = text_evaluation()
    before = state["scores"]["before"]
    scores = {"heldout": before["heldout"] | {"recall": 0.8}, "heldout_retain": {"bleu": 41.0, "bart_score": -4.0}}
    state["scores"]["before"] = {**before, "heldout_retain": before["heldout_retain"] | {"bart_score": -5.0}}
    evaluation = Evaluation.from_dict(state | {"scores": state["scores"] | {"base model": scores}})
    assert evaluation.bottleneck_cost("heldout") == pytest.approx(1 - 0.7 / 0.8)
    assert evaluation.bottleneck_cost(of=100) == pytest.approx(100 * (1 - 30.7 / 41))
    assert evaluation.bottleneck_cost(metric="bart_score") == pytest.approx(0.25)
    assert evaluation.notes == [
        "The bottleneck itself, from the base model to before: topic recall with the topic 0.800 to 0.700 (-12.5 %), "
        "BLEU without 41.0 to 30.7 (-25.1 %)."
    ]
    frame = evaluation.to_pandas()
    assert set(frame.codes[frame.condition == "base model"]) == {0}


def test_how_often_controls_fire_and_what_was_not_measured_is_said():
    fires = {"after": {"target": 1500, "retain": 12}, "random codes": {"target": 21, "retain": 13}}
    controls = {"examples": {"target": 184, "retain": 3000}, "fires": fires}
    settings = {"controls": controls, "not_measured": {"bottleneck left out": "There are no logits."}}
    assert Evaluation.from_dict(text_evaluation(settings=settings)).notes == [
        "Firings in the topic's 184 and 3,000 other examples: the removed codes 1,500 and 12, random codes 21 and 13.",
        "Not measured: bottleneck left out. There are no logits.",
    ]
    assert Evaluation.from_dict(text_evaluation()).notes == []
    assert controls["fires"].keys() == {"after", "random codes"}


def test_firings_of_several_requests_are_not_said_to_be_one_topics():
    fires = {name: {"target": 9, "retain": 4} for name in ("after", "random codes")}
    controls = {"examples": {"target": 20, "retain": 30}, "fires": fires}
    alone, together = (
        Evaluation.from_dict(text_evaluation() | {"settings": {"controls": controls | more}})
        for more in ({}, {"requests": 2})
    )
    assert "the removed codes 9 and 4, random codes 9 and 4" in str(alone) and "requests" not in repr(alone)
    assert "the removed codes, those of all 2 requests in force together, 9 and 4," in str(together)
    assert "codes removed by 2 requests" in repr(together)
