import numpy as np
import pytest

from excise.data.topics.association import WordTable
from excise.data.topics.corpus import Corpus, tokens
from excise.data.topics.inflections import inflections, name_paradigm
from excise.data.topics.names import common_names, name_kind
from excise.data.topics.parts_of_speech import map_form, reading
from excise.data.topics.pools import replacement_pool
from excise.data.topics.replacement import Replacer
from excise.data.topics.synonyms import SharedTranslation, is_derived

BOTH = frozenset({"NOUN", "VERB"})


def replace(text, word, other, name=False):
    topic, new = (name_paradigm if name else inflections)(word), (name_paradigm if name else inflections)(other)
    start = text.lower().index(word[:3].lower())
    end = start + len(tokens(text[start:])[0])
    changed, spans = Replacer([topic], lambda *_: [new], Corpus([text]), 0).replace(text, [(start, end)])
    return changed, [changed[a:b] for a, b in spans]


@pytest.mark.parametrize(
    ("text", "word", "other", "changed", "new"),
    [
        ("He loves it.", "love", "help", "He helps it.", "helps"),
        ("She loved it.", "love", "sing", "She sang it.", "sang"),
        ("LOVE IS ALL", "love", "work", "WORK IS ALL", "WORK"),
        ("Love is all", "love", "work", "Work is all", "Work"),
        ("The teachers' room", "teacher", "man", "The men's room", "men"),
        ("Be a teacher now", "teacher", "artist", "Be an artist now", "artist"),
        ("An apple a day", "apple", "car", "A car a day", "car"),
        ("A car is here", "car", "hour", "An hour is here", "hour"),
        ("a car is here", "car", "university", "a university is here", "university"),
    ],
)
def test_case_inflection_and_article_are_kept_right(text, word, other, changed, new):
    assert replace(text, word, other) == (changed, [new])


def test_names_are_replaced_as_they_are():
    assert replace("Mary's hat", "Mary", "Alice", name=True) == ("Alice's hat", ["Alice"])
    assert replace("MARY!", "Mary", "Alice", name=True) == ("ALICE!", ["ALICE"])


def test_every_occurrence_in_a_text_is_replaced_by_the_same_word():
    text = "He loved me, but loves me no more."
    pool = [inflections(word) for word in ("help", "watch", "call")]
    changed, spans = Replacer([inflections("love")], lambda *_: pool, Corpus([text]), 0).replace(
        text, [(3, 8), (17, 22)]
    )
    assert len({inflections(changed[a:b]).lemma for a, b in spans}) == 1
    assert "love" not in changed


def test_replacements_take_turns():
    pool = [inflections(word) for word in ("dog", "hat", "pen")]
    replacer = Replacer([inflections("car")], lambda *_: pool, Corpus(["unrelated"]), 0)
    new = [replacer.replace("My car.", [(3, 6)])[0] for _ in range(30)]
    assert {text: new.count(text) for text in new} == {"My dog.": 10, "My hat.": 10, "My pen.": 10}


def test_a_word_already_in_the_sentence_is_not_its_replacement():
    pool = [name_paradigm("Alice"), name_paradigm("Susan")]
    replacer = Replacer([name_paradigm("Mary")], lambda *_: pool, Corpus(["Alice and Mary"] * 9), 0)
    assert {replacer.replace("Alice and Mary", [(10, 14)])[0] for _ in range(8)} == {"Alice and Susan"}


def test_an_ambiguous_form_maps_only_where_all_its_readings_agree():
    love = inflections("love")
    assert map_form(love, "loved", inflections("go"), frozenset({"VERB"})) is None  # went or gone
    assert map_form(love, "love", inflections("teacher"), BOTH) is None
    assert map_form(love, "love", inflections("teacher"), frozenset({"NOUN"})) == "teacher"


@pytest.mark.parametrize(
    ("text", "readings"), [("I love it", {"VERB"}), ("in love with", {"NOUN"}), ("people love one", BOTH)]
)
def test_neighbours_decide_the_reading_where_they_can(text, readings):
    left, _, right = text.split()
    assert reading(inflections("love"), "love", [left], [right], BOTH) == readings


def test_words_with_the_same_company_are_similar():
    corpus = Corpus(
        [f"{who} drove my {what} home." for who in ("Tom", "She") for what in ("car", "truck")] + ["To run far!"]
    )
    frame = corpus.frame_similarity(["car"], [["truck"], ["run"], [None]])
    assert frame == pytest.approx([1, 0, 0])
    assert np.all(corpus.content_similarity(["car"], [["truck"], ["run"]]) >= 0)


def test_fit_rewards_what_was_seen_in_the_gap():
    corpus = Corpus(["A glass of milk is here.", "The war is over."])
    gap = corpus.gap(["glass", "of"], ["is", "here"])
    assert corpus.company("milk").fit(gap) == 5
    assert corpus.company("war").fit(gap) == 1
    assert corpus.company("unseen").fit(gap) == 0


def test_names_are_told_from_places_by_the_data_where_lists_hold_both():
    corpus = Corpus(["I saw Charlotte there."] * 9 + ["We live in Boston."] * 9)
    assert name_kind("Charlotte", corpus) == "woman"
    assert name_kind("Boston", corpus) == "city"
    assert name_kind("Monday", corpus) == "other"
    assert name_kind("April", corpus) == "other"
    assert {"Jennifer"} <= set(common_names("woman"))


def test_the_pool_holds_no_synonym_by_reference_and_no_derivation():
    vehicles = ["car", "automobile", "bicycle", "house", "hat"]
    french = {"car": "voiture", "automobile": "voiture", "bicycle": "vélo", "house": "maison", "hat": "chapeau"}
    rows = [(f"I saw the {word} number {n}.", f"j'ai vu {french[word]} {n}") for word in vehicles for n in range(30)]
    corpus = Corpus([text for text, _ in rows])
    shared = SharedTranslation(
        corpus, WordTable([reference for _, reference in rows]), np.array(["the car" in t for t, _ in rows])
    )
    pool = [other.lemma for other in replacement_pool(inflections("car"), frozenset({"NOUN"}), corpus, shared.refuses)]
    assert "automobile" not in pool
    assert {"bicycle", "hat"} <= set(pool)
    assert is_derived("lover", "love")
    assert not is_derived("dove", "love")
