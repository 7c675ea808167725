"""The attack by guessing what was deleted."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from datasets import Dataset

from excise import Selection, Unlearner
from excise.attacks import Guessed, auc_of_deleted
from excise.attacks.attack_sets import AttackSets
from excise.attacks.guessed import best_rank, candidate_words
from excise.attacks.oddities import carriers, row_oddities
from excise.baselines import filter_outputs
from excise.bottlenecks.site import bottlenecks
from excise.data.classes import class_sets
from excise.ledger.ledger import Ledger
from excise.models.activations import bottleneck_inputs
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD
from tests.helpers import many_words, tiny
from tests.helpers.tiny_images import images, key_value_model, processor

FAST = {"carriers": 1, "candidates": 220}


@pytest.fixture(scope="module")
def sets():
    return AttackSets(many_words.topic(), many_words.tokenizer(), words=("livre", "livres"), batch_size=256)


@pytest.fixture(scope="module")
def untouched():
    torch.manual_seed(0)
    return tiny.codebook_t5(t5={"vocab_size": len(many_words.tokenizer())})


def with_row(model, make):
    """A copy of a model whose row of *book* was made anew."""
    changed = copy.deepcopy(model)
    rows = changed.get_input_embeddings().weight.data
    rows[many_words.tokenizer().convert_tokens_to_ids("book")] = make(rows)
    return changed


def deleted(model, topic, **details):
    """A copy of a model whose ledger has a deletion; its weights are what they were."""
    changed = copy.deepcopy(model)
    masks = {site: of.live for site, of in bottlenecks(changed).items()}
    changed.config.unlearning = Ledger().add("delete", topic, {}, **details).to_dict(masks)
    return changed


def ranks(result):
    return {one.settings["way"]: one.score for one in result.attempts}


def test_an_untouched_model_gives_nothing_away_and_stays_as_it_was(untouched, sets):
    before = {name: tensor.clone() for name, tensor in untouched.state_dict().items()}
    for original in (untouched, None):
        result = Guessed(**FAST)(original, untouched, None, sets)
        assert result.verdict == WITHSTOOD and result.details["candidates"] == 220
    assert set(ranks(result)) >= {"word ignored", "outputs unsure", "far from live codes", "row near the mean"}
    assert not untouched.training
    assert all(torch.equal(before[name], tensor) for name, tensor in untouched.state_dict().items())


@pytest.mark.parametrize(("topic", "private", "verdict"), [("book", False, NOT_WITHSTOOD), ("a", True, WITHSTOOD)])
def test_a_ledger_that_names_the_topic_leaves_nothing_to_guess(untouched, sets, topic, private, verdict):
    result = Guessed(**FAST)(untouched, deleted(untouched, topic, private=private), None, sets)
    assert result.verdict == verdict, result.reason
    assert result.reason.startswith("The ledger in the file names the topic") == (not private)
    assert (result.score == 1) == (not private) and ("book" in result.reason) is False


def test_the_ledger_tells_by_the_rows_that_it_lists_though_its_request_is_private(untouched, sets):
    rows = {"shared.weight": [sets.processor.convert_tokens_to_ids("book")]}
    result = Guessed(**FAST)(untouched, deleted(untouched, "a", private=True, rows=rows), None, sets)
    assert result.verdict == NOT_WITHSTOOD and "lists the tokens whose embedding rows were erased" in result.reason


def test_words_that_are_not_to_be_generated_name_the_topic_where_the_original_does_not_bar_them(untouched, sets):
    hidden = filter_outputs(untouched, sets.processor, ["livre"])
    result = Guessed(**FAST)(untouched, hidden, None, sets)
    assert result.verdict == NOT_WITHSTOOD and result.reason.startswith("`bad_words_ids`") and result.score == 1
    assert Guessed(**FAST)(hidden, hidden, None, sets).verdict == WITHSTOOD
    assert (
        Guessed(**FAST)(untouched, filter_outputs(untouched, sets.processor, "lamp"), None, sets).verdict == WITHSTOOD
    )


def test_nothing_is_withstood_where_not_even_the_first_rank_would_be_a_find(untouched, sets):
    erased = with_row(untouched, lambda rows: rows.mean(0))
    for model in (untouched, erased):
        result = Guessed(carriers=1, candidates=100)(None, model, None, sets)
        assert result.verdict == NOT_MEASURED and "not even the first rank" in result.reason


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_ways_that_score_all_words_the_same_are_not_judged(untouched, sets, value, monkeypatch):
    def same(model, sets, words, *_):
        return {"a way": np.full(len(words), value)}

    monkeypatch.setattr("excise.attacks.guessed.row_oddities", same)
    monkeypatch.setattr("excise.attacks.guessed.output_oddities", same)
    monkeypatch.setattr("excise.attacks.guessed.code_oddities", lambda *_: None)
    result = Guessed(**FAST)(untouched, untouched, None, sets)
    assert result.verdict == NOT_MEASURED and result.details["no scores"] == ["a way"], result.reason


def test_a_row_that_was_set_to_the_mean_is_found_from_the_file_alone(untouched, sets):
    erased = with_row(untouched, lambda rows: rows.mean(0))
    result = Guessed(**FAST)(untouched, erased, None, sets)
    assert result.verdict == NOT_WITHSTOOD
    assert ranks(result)["row near the mean"] == 1 and result.score == 1
    assert "rank 1 of 220" in result.reason


def test_a_row_like_another_is_found(untouched, sets):
    erased = with_row(untouched, lambda rows: rows[many_words.tokenizer().convert_tokens_to_ids("<pad>")])
    result = Guessed(**FAST)(untouched, erased, None, sets)
    assert result.verdict == NOT_WITHSTOOD and ranks(result)["row like another"] == 1


def test_a_random_row_is_found_with_the_base_at_hand_and_not_without(untouched, sets):
    rows = untouched.get_input_embeddings().weight.data
    draw = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(1))
    erased = with_row(untouched, lambda rows: rows.mean(0) + rows.std(0) * draw)
    assert Guessed(**FAST)(untouched, erased, None, sets).verdict == WITHSTOOD
    result = Guessed(untouched, **FAST)(untouched, erased, None, sets)
    assert result.verdict == NOT_WITHSTOOD and ranks(result)["row not the base's"] == 1


def test_what_is_odd_in_a_model_that_never_saw_it_as_well_is_not_judged(untouched, sets):
    erased = with_row(untouched, lambda rows: rows.mean(0))
    result = Guessed(**FAST)(untouched, erased, erased, sets)
    assert result.verdict == WITHSTOOD and "row near the mean" in result.details["odd anyway"]
    assert "row near the mean" in result.reason


def test_a_word_whose_codes_are_dead_is_far_from_those_that_live(sets):
    words = [*many_words.FILLERS, "book"]
    model = tiny.codebook_t5(t5={"vocab_size": len(sets.processor)}, num_codes=len(words))
    place = carriers(sets.topic.retain, 1, sets.seed)[0]
    batch = sets.processor([place.holding(word) for word in words], return_tensors="pt", padding=True)
    (arrived,) = bottleneck_inputs(model, {"input_ids": batch["input_ids"]}).values()
    (bottleneck,) = bottlenecks(model).values()
    with torch.no_grad():  # a code of each word, which is what arrives of it
        bottleneck.codebook.copy_(bottleneck.encode(arrived[:, place.text[: place.start].count(" ")]))
    unlearner = Unlearner(model, sets.processor)
    original = copy.deepcopy(unlearner.model)
    unlearner.delete(Selection({tiny.SITE: [len(words) - 1]}), "book")
    result = Guessed(**FAST)(original, unlearner.model, None, sets)
    assert result.details["ranks"]["far from live codes"] == {"removed": 1, "original": pytest.approx(75, abs=75)}
    assert result.details["dead codes"] == 1


def test_candidates_are_other_words_and_each_form_of_the_topic_that_its_sentences_have(sets):
    forms, others = candidate_words(sets, 100)
    assert forms == ["book"] and len(set(others)) == 99
    assert not {"book", "Book", "books"} & set(others)
    everything = candidate_words(sets, 400)[1]
    assert set(many_words.FILLERS) <= set(everything) and len(everything) == 399  # the rest are frequent words


def test_too_few_words_are_not_measured(untouched, sets):
    result = Guessed(carriers=1, candidates=50)(None, untouched, None, sets)
    assert result.verdict == NOT_MEASURED and "fewer than 100 candidates" in result.reason and result.score


def test_sentences_that_carry_no_word_leave_the_rows_alone(untouched, sets):
    short = Dataset.from_dict({"text": ["the ."], "spans": [[]], "reference": ["le"]})
    few = AttackSets(dataclasses.replace(sets.topic, retain=short), sets.processor, words=sets.words)
    assert all(way.startswith("row") for way in ranks(Guessed(**FAST)(None, untouched, None, few)))


def test_a_target_without_spans_and_a_base_of_another_width_are_refused(untouched, sets):
    nowhere = sets.topic.target.map(lambda row: {"spans": []})
    lost = AttackSets(dataclasses.replace(sets.topic, target=nowhere), sets.processor, words=sets.words)
    with pytest.raises(ValueError, match="No sentence of the target tells `spans`"):
        Guessed(**FAST)(None, untouched, None, lost)
    base = tiny.base_t5(vocab_size=len(sets.processor), d_model=8)
    with pytest.raises(ValueError, match="rows of 8 and the model"):
        Guessed(base, **FAST)(None, untouched, None, sets)
    with pytest.raises(ValueError, match="candidates=1, carriers=0"):
        Guessed(candidates=1, carriers=0)


def test_rows_drawn_at_random_vary_where_learnt_rows_do_not(sets):
    model = tiny.base_t5(vocab_size=len(sets.processor))
    rows = model.get_input_embeddings().weight.data
    rows[:] = torch.randn(len(rows), 4) @ torch.randn(4, rows.shape[1]) + 0.01 * torch.randn_like(rows)
    rows[many_words.tokenizer().convert_tokens_to_ids("book")] = rows.std(0) * torch.randn(rows.shape[1])
    scores = row_oddities(model, sets, ["book", *many_words.FILLERS])["row off the directions"]
    assert scores.argmax() == 0 and scores[0] > 10 * scores[1:].max()


def test_classes_are_the_candidates_of_a_class(sets):
    topic = class_sets(images(80), "red", min_examples=4)
    for model, of, sizes in (
        (key_value_model(), AttackSets(topic, processor()), 2),
        (
            tiny.codebook_clip(),
            AttackSets(class_sets(tiny.images(90), "red", min_examples=4), tiny.clip_processor()),
            5,
        ),
    ):
        result = Guessed()(model, model, None, of)
        assert result.verdict == NOT_MEASURED and "fewer than 100" in result.reason
        assert len(ranks(result)) == sizes and result.details["candidates"] == len(of.topic.classes)


def test_a_class_that_no_image_is_taken_for_has_the_first_rank():
    model = key_value_model()
    model.bottleneck.values.data[..., 0] = -9
    result = Guessed()(None, model, None, AttackSets(class_sets(images(80), "red", min_examples=4), processor()))
    assert ranks(result) == {"class unlikely": 1, "class never likely": 1}


def test_a_rank_counts_ties_by_half_and_takes_the_best_form():
    assert best_rank(np.array([1.0]), np.zeros(9)) == 1
    assert best_rank(np.array([0.0]), np.zeros(9)) == 5.5
    assert best_rank(np.array([-1.0, 0.5]), np.array([0.0, 1.0, 2.0])) == 3


def test_the_auc_of_deleted_topics_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    deleted, never = rng.integers(0, 9, 20) + 1, rng.integers(0, 9, 30)
    truth = np.repeat([1, 0], [20, 30])
    assert auc_of_deleted(deleted, never) == pytest.approx(roc_auc_score(truth, np.concatenate([deleted, never])))
    for broken in ([], [np.nan]):
        with pytest.raises(ValueError, match="give one or more of each"):
            auc_of_deleted(broken, never)
