"""The attack by other words."""

import dataclasses

import numpy as np
import pytest
import torch

from excise.attacks import SaidOtherwise
from excise.attacks.attack_sets import AttackSets
from excise.attacks.said_otherwise import misspelt
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD
from tests.helpers import many_words, tiny
from tests.helpers.tiny_images import images, key_value_model, processor

NOTHING = {}
KNOWN = {"book": "livre", "books": "livres", "BOOK": "livre", "Book": "livre", "novel": "livre", "bookshop": "livre"}


@pytest.fixture(scope="module")
def sets():
    return AttackSets(many_words.topic(), many_words.tokenizer(), words=("livre", "livres"))


def by_wording(result):
    return {one.settings["how"]: one for one in result.attempts}


def lexicon(words):
    return many_words.Lexicon(words)


def test_a_model_that_never_saw_the_topic_says_it_in_no_words(sets):
    result = SaidOtherwise(synonyms=("novel",))(lexicon(KNOWN), lexicon(NOTHING), lexicon(NOTHING), sets)
    assert result.verdict == WITHSTOOD and result.score == 0
    assert {"synonym: novel", "implied: cut out", "case: upper", "longer word: {}shop"} <= set(by_wording(result))


@pytest.mark.parametrize("never_saw", [NOTHING, None])
def test_an_untouched_model_is_not_withstood(sets, never_saw):
    null = None if never_saw is None else lexicon(never_saw)
    result = SaidOtherwise(synonyms=("novel",))(lexicon(KNOWN), lexicon(KNOWN), null, sets)
    assert result.verdict == NOT_WITHSTOOD
    assert result.score == result.before == result.after == 1


@pytest.mark.parametrize("word", ["BOOK", "novel", "bookshop"])
def test_a_word_that_was_forgotten_in_one_wording_is_found_in_the_other(sets, word):
    left = {word: "livre"}
    result = SaidOtherwise(synonyms=("novel",))(lexicon(KNOWN), lexicon(left), lexicon(NOTHING), sets)
    assert result.verdict == NOT_WITHSTOOD and result.after == 0
    hits = {how: one.hits for how, one in by_wording(result).items() if one.hits}
    assert list(hits.values()) == [40] and len(hits) == 1


def test_what_a_model_copies_is_held_against_one_that_never_saw_it_or_not_judged(sets):
    copies = {"livre": "livre", "livres": "livres"}
    result = SaidOtherwise()(lexicon(KNOWN), lexicon(copies), lexicon(copies), sets)
    assert result.verdict == WITHSTOOD
    assert by_wording(result)["translation: livre"].score == by_wording(result)["translation: livre"].null == 1
    alone = SaidOtherwise()(lexicon(KNOWN), lexicon(copies), None, sets)
    assert alone.verdict == WITHSTOOD and "translation: livre" not in by_wording(alone)
    assert alone.details["not judged"][0] == {"how": "translation: livre", "hits": 40}


def test_sentences_whose_reference_alone_names_the_topic_are_counted_beside(sets):
    rows = sets.topic.heldout_retain.map(lambda row, i: {"reference": "le livre"} if i < 5 else row, with_indices=True)
    topic = dataclasses.replace(sets.topic, heldout_retain=rows)
    implied = AttackSets(topic, sets.processor, words=sets.words)
    result = SaidOtherwise()(None, lexicon({"sees": "livre"}), lexicon(NOTHING), implied)
    assert result.details["implied"] == {"total": 5, "removed": 5, "never saw": 0}


def test_synonyms_come_from_the_references_where_there_is_no_dictionary(sets, monkeypatch):
    monkeypatch.setattr("excise.attacks.said_otherwise.wordnet_synonyms", lambda word: frozenset())
    half = len(sets.topic.retain) // 2
    rows = [{"text": "the novel sees it", "reference": "le livre"}] * half + [
        {"text": "the lamp sees it", "reference": "le chose"}
    ] * (len(sets.topic.retain) - half)
    retain = sets.topic.retain.map(lambda _, i: rows[i], with_indices=True)
    known = AttackSets(dataclasses.replace(sets.topic, retain=retain), sets.processor, words=sets.words)
    result = SaidOtherwise()(lexicon(KNOWN), lexicon({"novel": "livre"}), lexicon(NOTHING), known)
    assert result.details["synonyms"] == "the retain set's references"
    assert by_wording(result)["synonym: novel"].hits == 40


def test_of_a_private_topic_no_word_is_in_the_result(sets):
    private = AttackSets(sets.topic.private_as("topic one"), sets.processor, words=sets.words)
    result = SaidOtherwise(synonyms=("novel",))(lexicon(KNOWN), lexicon(NOTHING), lexicon(NOTHING), private)
    told = str(result.to_dict())
    assert not [word for word in ("novel", "book", "livre") if word in told]


@pytest.mark.parametrize(("how", "length"), [("swapped", 0), ("dropped", -1), ("doubled", 1)])
def test_a_misspelling_keeps_the_first_letter_and_depends_on_the_seed_alone(how, length):
    words = [misspelt("teacher", how, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert words[0] == words[1] and len(set(words)) > 1
    assert all(word != "teacher" and word[0] == "t" and len(word) == 7 + length for word in words)


@pytest.mark.parametrize(("word", "how"), [("an", "dropped"), ("see", "swapped"), ("", "doubled")])
def test_a_word_without_a_misspelling_has_none(word, how):
    assert misspelt(word, how, np.random.default_rng(0)) is None


def test_sentences_without_spans_are_not_measured(sets):
    heldout = sets.topic.heldout.map(lambda row, i: {"spans": [] if i < 3 else row["spans"]}, with_indices=True)
    broken = AttackSets(dataclasses.replace(sets.topic, heldout=heldout), sets.processor, words=sets.words)
    result = SaidOtherwise()(None, lexicon(KNOWN), None, broken)
    assert result.verdict == NOT_MEASURED and "3 of 40 held-out sentences" in result.reason


def test_settings_that_make_no_wording_are_refused():
    with pytest.raises(ValueError, match="`compounds` holds 'shop'"):
        SaidOtherwise(compounds=("shop",))
    with pytest.raises(ValueError, match="tuples of words"):
        SaidOtherwise(synonyms="novel")


def test_a_clip_is_asked_by_other_names_and_left_as_it_was():
    from excise.data.classes import class_sets

    topic = class_sets(tiny.images(120), "red", min_examples=5)
    model = tiny.codebook_clip()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = SaidOtherwise(synonyms=("cat",))(model, model, None, AttackSets(topic, tiny.clip_processor()))
    assert {"synonym: cat", "misspelling: swapped"} <= {*by_wording(result)}
    assert all(one.total == len(topic.heldout) for one in result.attempts)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_classifier_is_asked_in_no_words():
    from excise.data.classes import class_sets

    sets = AttackSets(class_sets(images(80), "red", min_examples=4), processor())
    result = SaidOtherwise()(None, key_value_model(), None, sets)
    assert result.verdict == NOT_MEASURED and "no words" in result.reason
