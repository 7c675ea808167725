"""Topic recall, the words it looks for, and the rest of the sentence."""

import pytest
from scipy.stats import binomtest

from excise.evaluation.metrics import TopicRecall
from excise.evaluation.metrics.words import rest_of_sentence


def recall(words, predictions, references):
    return TopicRecall(words).compute(predictions=predictions, references=references)


def test_a_planted_share_of_the_words_is_found_with_its_exact_interval():
    references = ["Le professeur de musique parle."] * 30 + ["Il pleut."] * 10
    predictions = ["Le professeur de chant parle."] * 12 + ["Il parle de musique."] * 9 + ["Il parle."] * 19
    result = recall(["professeur", "musique"], predictions, references)
    interval = binomtest(21, 60).proportion_ci(method="exact")
    assert result == {
        "recall": 21 / 60,
        "hits": 21,
        "total": 60,
        "low": interval.low,
        "high": interval.high,
        "mentions": 21 / 40,
    }


def test_a_word_counts_once_per_sentence_and_must_come_out_in_the_same_sentence():
    result = recall(["chat"], ["le chat", "rien"], ["un chat, un autre chat", "le chat dort"])
    assert (result["hits"], result["total"]) == (1, 2)
    assert result["mentions"] == 0.5
    swapped = recall(["chat"], ["rien", "le chat"], ["le chat", "rien"])
    assert (swapped["hits"], swapped["total"]) == (0, 1)
    assert swapped["mentions"] == 0.5  # which is why it is looked at, too


def test_a_word_in_the_prediction_alone_is_no_case():
    result = recall(["chat", "chien"], ["le chat et le chien"], ["le chat"])
    assert (result["hits"], result["total"]) == (1, 1)


def test_a_word_in_any_of_several_references_is_one_case():
    result = recall(["professeur", "maître"], ["le maître"], [["le professeur", "le maître", "un maître"]])
    assert (result["hits"], result["total"]) == (1, 2)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("amour", "L'amour dure."),
        ("amour", "C’est l’AMOUR !"),
        ("teacher", "The teacher's book"),
        ("être", "Peut-être"),
        ("ÉTÉ", "un e\u0301te\u0301 chaud"),
        ("straße", "Die STRASSE ist lang"),
        ("petit pain", "Un PETIT   pain, merci"),
        ("हिन्दी", "वह हिन्दी बोलता है"),
    ],
)
def test_a_word_is_found_through_case_elision_and_composed_accents(word, text):
    assert recall([word], [text], [text])["hits"] == 1


@pytest.mark.parametrize(
    ("word", "text"),
    [("amour", "les amours"), ("art", "il part"), ("petit pain", "pain petit"), ("été", "ete"), ("हिन", "हिन्दी")],
)
def test_a_part_of_a_word_or_another_word_is_not_found(word, text):
    result = recall([word], [text], [word])
    assert (result["hits"], result["total"]) == (0, 1)


def test_the_same_word_twice_in_the_list_counts_once():
    assert recall(["Chat", "chat", "CHAT"], ["chat"], ["chat"])["total"] == 1


def test_words_absent_from_every_reference_are_refused_and_named():
    with pytest.raises(ValueError, match=r"None of the 2 references holds any of the words \['teacher'\]"):
        recall(["teacher"], ["le teacher", "x"], ["le professeur", "x"])


@pytest.mark.parametrize(
    ("words", "message"),
    [([], "words is empty"), ("chat", "the string 'chat'"), ([""], "''"), (["!"], "'!'"), ([3], "3")],
)
def test_words_that_are_none_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        TopicRecall(words)
    with pytest.raises(ValueError, match=message):
        rest_of_sentence("un texte", words)


def test_the_rest_of_a_sentence_is_all_but_the_topics_words():
    words = ["professeur", "petit pain"]
    assert rest_of_sentence("Le Professeur mange un petit pain, professeur.", words) == "Le mange un , ."
    assert rest_of_sentence("Professeur, venez !", words) == ", venez !"
    assert rest_of_sentence("  Les  professeurs partent. ", words) == "  Les  professeurs partent. "


def test_the_rest_of_a_sentence_holds_none_of_the_topics_words():
    rest = rest_of_sentence("L'amour est un jeu, l'amour !", ["amour", "jeu"])
    assert rest_of_sentence(rest, ["amour", "jeu"]) == rest == "L' est un , l' !"
