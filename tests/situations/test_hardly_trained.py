"""A model that does not know the topic, or was hardly trained: told, with what to do."""

import pytest

from excise import Evaluation, Selection, Unlearner
from tests.helpers.evidence import text_evaluation


def evaluated(rows=40, recall=None, **bleu):
    """An evaluation with a BLEU without the topic, by condition, and so many hits of forty before."""
    scores = {}
    for condition, value in bleu.items():
        topic = {"bleu": value, "chrf": value, "rest_bleu": value}
        retain = {"bleu": value, "chrf": value}
        scores[condition.replace("_", " ")] = {"heldout": topic, "heldout_retain": retain}
    if recall is not None:
        hits = {"recall": recall / 40, "low": 0.0, "high": recall / 40 + 0.09, "hits": recall, "total": 40}
        scores["before"]["heldout"] |= hits
        scores["after"]["heldout"] |= hits
    references = {"heldout": ["a"] * rows, "heldout_retain": ["a"] * rows}
    return Evaluation.from_dict(text_evaluation(scores=scores, references=references, texts=references, settings={}))


# The scores without the topic, and what is told.
TOLD = {
    "a hundred steps: 20.2 to 11.4": (
        {"before": 11.4, "after": 11, "bottleneck_left_out": 20.2},
        "11.4 before and 20.2 with",
    ),
    "the base model is far better": (
        {"before": 20, "after": 20, "base_model": 40},
        "20.0 before and 40.0 of the base model",
    ),
    "both are there, and the higher counts": (
        {"before": 30, "after": 30, "bottleneck_left_out": 31, "base_model": 45},
        "45.0 of the base model",
    ),
}
NOT_TOLD = {
    "a codebook that costs little": {"before": 38, "after": 37, "bottleneck_left_out": 40, "base_model": 41},
    "leaving it out breaks the model": {"before": 38, "after": 37, "bottleneck_left_out": 2},
    "random weights": {"before": 0.1, "after": 0.1, "bottleneck_left_out": 1.5},
    "nothing to compare with": {"before": 11, "after": 11},
    "no model before": {"after": 11, "bottleneck_left_out": 40},
    "too few rows": {"rows": 4, "before": 11, "after": 11, "bottleneck_left_out": 40},
}


@pytest.mark.parametrize(("scores", "says"), TOLD.values(), ids=TOLD)
def test_a_model_that_was_hardly_trained_is_told(scores, says):
    (note,) = [note for note in evaluated(**scores).notes if note.startswith("Hardly trained")]
    assert says in note
    assert "Train the model longer" in note


@pytest.mark.parametrize("scores", NOT_TOLD.values(), ids=NOT_TOLD)
def test_one_that_was_trained_or_cannot_be_told_is_not(scores):
    assert "Hardly trained" not in " ".join(evaluated(**scores).notes)


def test_a_topic_that_the_model_does_not_know_is_told_with_what_to_do():
    said = evaluated(before=30, after=30, recall=0).nothing_to_forget
    assert said.startswith("Nothing to forget")
    assert "prefix=" in said
    assert "more training" in said


def test_where_no_code_is_selected_the_error_says_what_to_look_at(make_model):
    with pytest.raises(ValueError, match=r"Nothing is selected.*does not know.*evaluate"):
        Unlearner(make_model(), None).mask(Selection({}, {"q": 0.05}), "nothing")
