"""METEOR with and without WordNet, in English and in other languages."""

from types import SimpleNamespace

import pytest
from nltk.stem import PorterStemmer
from nltk.translate.meteor_score import meteor_score

from excise.evaluation.metrics import Meteor, meteor
from excise.evaluation.metrics.words import tokens

PREDICTION = "The cats were sitting on a mat."
REFERENCES = ["The cat sat on his mat.", "On the mat, cats were sitting."]


@pytest.fixture
def no_wordnet(monkeypatch):
    monkeypatch.setattr(meteor, "_wordnet", lambda: None)


def known_synonyms(word):
    """A WordNet in which a cat is a tom."""
    lemmas = [SimpleNamespace(name=lambda: "tom")] if word == "cat" else []
    return [SimpleNamespace(lemmas=lambda: lemmas)]


@pytest.mark.usefixtures("no_wordnet")
def test_without_wordnet_it_is_exact_and_stem_matching_by_the_published_formula():
    # the + cat(s) + on + mat + . match: 5 of 8 words and of 7; the chunks are "the cat", "on", "mat .".
    result = Meteor().compute(predictions=[PREDICTION], references=["The cat sat on his mat."])
    precision, recall, fragmentation = 5 / 8, 5 / 7, 3 / 5
    expected = precision * recall / (0.9 * precision + 0.1 * recall) * (1 - 0.5 * fragmentation**3)
    assert result["meteor"] == pytest.approx(expected)
    assert result["meteor_matching"] == "exact + stem (english)"


@pytest.mark.usefixtures("no_wordnet")
def test_the_best_of_several_references_counts_and_sentences_are_averaged():
    each = [Meteor().compute(predictions=[PREDICTION], references=[text])["meteor"] for text in REFERENCES]
    both = Meteor().compute(predictions=[PREDICTION, "no word fits"], references=[REFERENCES, REFERENCES])
    assert each[0] != each[1]
    assert both["meteor"] == pytest.approx(max(each) / 2)


def test_synonyms_count_where_wordnet_is_found_and_the_result_says_so(monkeypatch):
    wordnet = SimpleNamespace(synsets=known_synonyms)
    monkeypatch.setattr(meteor, "_wordnet", lambda: wordnet)
    inputs = {"predictions": ["the cat"], "references": ["the tom"]}
    with_synonyms, without = Meteor().compute(**inputs), Meteor(synonyms=False).compute(**inputs)
    assert with_synonyms["meteor"] == meteor_score(
        [["the", "tom"]], ["the", "cat"], stemmer=PorterStemmer(), wordnet=wordnet
    )
    assert with_synonyms["meteor"] > without["meteor"] > 0
    assert with_synonyms["meteor_matching"] == "exact + stem (english) + WordNet"
    assert without["meteor_matching"] == "exact + stem (english)"


def test_wordnet_missing_on_this_machine_is_no_error(monkeypatch):
    def absent():
        raise LookupError("no such data")

    monkeypatch.setattr("nltk.corpus.wordnet", SimpleNamespace(ensure_loaded=absent))
    result = Meteor().compute(predictions=["a cat"], references=["the cat"])
    assert result["meteor_matching"] == "exact + stem (english)"
    assert result["meteor"] > 0


def test_french_words_are_stemmed_as_french():
    inputs = {"predictions": ["il chanteront"], "references": ["il chantait"]}
    assert Meteor(language="french").compute(**inputs)["meteor"] > Meteor(synonyms=False).compute(**inputs)["meteor"]


def test_an_elided_article_leaves_its_noun_to_be_matched():
    assert tokens("J’ai l'été") == ["J", "'", "ai", "l", "'", "été"]
    assert tokens("e\u0301te\u0301") == tokens("été")


def test_an_empty_prediction_scores_0():
    assert Meteor().compute(predictions=["", " "], references=["a cat", "a cat"])["meteor"] == 0


def test_a_language_without_a_stemmer_is_refused():
    with pytest.raises(ValueError, match=r"language is 'klingon': expected one of .*french"):
        Meteor(language="klingon")
