import math

import pytest
import torch

from excise import Unlearner, class_sets
from excise.codes.budget import answer_probability, mean_loss, select_within_budget
from excise.codes.search import Search
from excise.data.questions import answer_tokens
from excise.evaluation.metrics.answers import probability
from excise.evaluation.questions.answer_scores import answer_scores
from tests.helpers import tiny

BUDGET = 0.02


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(num_codes=64, seed=3), tokenizer)


def rise(unlearner, topic, selection):
    retain = topic.retain["text"], topic.retain["reference"]
    base = mean_loss(unlearner.model, unlearner.tokenizer, *retain)
    with unlearner.trial(selection):
        return mean_loss(unlearner.model, unlearner.tokenizer, *retain) / base - 1


def test_the_loss_is_the_mean_over_label_tokens_whatever_the_batch_size(unlearner, tokenizer, topic):
    texts, references = topic.retain["text"][:3], ["le livre", "le professeur lit un livre .", "un"]
    total = count = 0
    for text, reference in zip(texts, references, strict=True):
        labels = tokenizer(text_target=reference, return_tensors="pt").input_ids
        with torch.no_grad():
            total += unlearner.model(**tokenizer(text, return_tensors="pt"), labels=labels).task_loss * labels.numel()
        count += labels.numel()
    for batch_size in (1, 2, 3):
        loss = mean_loss(unlearner.model, tokenizer, texts, references, batch_size)
        assert loss == pytest.approx(float(total / count), rel=1e-5)


def test_the_selection_keeps_to_its_budget_and_says_what_it_measured(unlearner, topic):
    counts = unlearner.count(topic, Search(multiple=1), progress=False)
    everything = counts.select()
    selection = select_within_budget(unlearner, counts, topic, max_loss_rise=BUDGET, progress=False)
    measured = rise(unlearner, topic, selection)
    assert selection.thresholds["loss_rise"] == pytest.approx(measured, abs=1e-6)
    assert measured <= BUDGET
    if len(selection) < len(everything):
        assert rise(unlearner, topic, counts.select(count=len(selection) + 1)) > BUDGET


def test_without_a_limit_everything_that_is_significant_is_taken(unlearner, topic):
    counts = unlearner.count(topic, Search(multiple=1), progress=False)
    selection = select_within_budget(unlearner, counts, topic, max_loss_rise=math.inf, progress=False)
    assert selection.codes == counts.select().codes
    assert not unlearner.ledger.requests


@pytest.mark.parametrize(
    ("fitting", "expected"),
    [((1, 2), 2), ((1, 2, 5), 5), ((4,), 4), ((), 0), ((1, 2, 3, 4, 5, 6), 6)],
    ids=["it rises", "a longer list costs less again", "one list alone fits", "none fits", "all fit"],
)
def test_the_longest_list_within_the_budget_is_taken_though_the_loss_does_not_rise_with_every_code(
    fitting, expected, unlearner, topic, monkeypatch
):
    counts = unlearner.count(topic, Search(multiple=1, q=1.0, effect=0.0, count=6), progress=False)
    assert len(counts.select()) == 6

    def planted(model, tokenizer, texts, *_):
        masked = sum(int((~part.live).sum()) for part in unlearner.sites.values())
        return 1.0 if masked in (0, *fitting) else 1.1

    monkeypatch.setattr("excise.codes.budget.mean_loss", planted)
    selection = select_within_budget(unlearner, counts, topic, max_loss_rise=0.05, progress=False)
    assert len(selection) == expected
    assert selection.thresholds["loss_rise"] == 0


def test_the_cost_is_measured_on_sentences_that_did_not_choose(unlearner, topic):
    counts = unlearner.count(topic, Search(multiple=1), progress=False)
    selection = select_within_budget(unlearner, counts, topic, max_loss_rise=BUDGET, progress=False)
    heldout = topic.heldout_retain["text"], topic.heldout_retain["reference"]
    base = mean_loss(unlearner.model, unlearner.tokenizer, *heldout)
    with unlearner.trial(selection):
        rise_there = mean_loss(unlearner.model, unlearner.tokenizer, *heldout) / base - 1
    assert selection.thresholds["heldout_loss_rise"] == pytest.approx(rise_there, abs=1e-6)


@pytest.mark.parametrize("budget", [-0.1, float("nan")])
def test_a_budget_below_nothing_is_refused(unlearner, topic, budget):
    counts = unlearner.count(topic, Search(multiple=1), progress=False)
    with pytest.raises(ValueError, match="expected 0 or more"):
        select_within_budget(unlearner, counts, topic, max_loss_rise=budget)


@pytest.mark.parametrize("loss", [math.nan, math.inf, 0.0])
def test_a_budget_is_a_share_of_something(unlearner, topic, monkeypatch, loss):
    counts = unlearner.count(topic, Search(multiple=1), progress=False)
    monkeypatch.setattr("excise.codes.budget.mean_loss", lambda *_: loss)
    with pytest.raises(ValueError, match="must be above 0 and finite"):
        select_within_budget(unlearner, counts, topic, progress=False)


def test_a_class_of_images_has_no_references_to_measure_a_loss_on():
    sets = class_sets(tiny.images(60), "red", min_examples=4)
    unlearner = Unlearner(tiny.codebook_clip(), tiny.image_processor())
    counts = unlearner.count(sets, progress=False)
    with pytest.raises(ValueError, match="expected sets of a topic or of questions"):
        select_within_budget(unlearner, counts, sets, progress=False)


def test_questions_keep_the_probability_of_answers_that_stay_within_the_budget(asked, padded_tokenizer):
    unlearner, sets = Unlearner(asked.original, padded_tokenizer), asked.sets
    counts = unlearner.count(sets, Search("activations", share=1.0), progress=False)

    def fall(name, selection):
        rows = getattr(sets, name)
        tokens = answer_tokens(padded_tokenizer, rows["question"][:], rows["answer"][:], sets.form)
        before = probability(answer_scores(asked.original, tokens).losses).mean()
        with unlearner.trial(selection):
            return 1 - probability(answer_scores(asked.original, tokens).losses).mean() / before

    selection = select_within_budget(unlearner, counts, sets, max_loss_rise=0.05, progress=False)
    said = selection.thresholds
    assert 0 < len(selection) < len(counts.select())
    assert said["probability_fall"] == pytest.approx(fall("retain", selection), abs=1e-5)
    assert said["probability_fall"] <= said["max_probability_fall"] == 0.05
    if len(sets.heldout_retain):
        assert said["heldout_probability_fall"] == pytest.approx(fall("heldout_retain", selection), abs=1e-5)
    assert fall("retain", counts.select(count=len(selection) + 1)) > 0.05
    assert not unlearner.ledger.requests


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_answers_probability_is_that_of_the_benchmark_whatever_the_batch_size(asked, padded_tokenizer, batch_size):
    rows = asked.sets.retain
    tokens = answer_tokens(padded_tokenizer, rows["question"][:], rows["answer"][:], asked.sets.form)
    expected = probability(answer_scores(asked.original, tokens).losses).mean()
    assert answer_probability(asked.original, tokens, batch_size) == pytest.approx(expected, rel=1e-5)
