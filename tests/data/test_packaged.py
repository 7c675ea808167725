"""The packaged sentence pairs."""

import re
from itertools import pairwise

import pytest

from excise.data.packaged import load_demo


@pytest.fixture(scope="module")
def demo():
    return load_demo()


def test_no_english_sentence_is_in_both_splits_or_twice_in_one(demo):
    train, test = (
        [" ".join(pair["en"].casefold().split()) for pair in demo[s]["translation"]] for s in ("train", "test")
    )
    assert not set(train) & set(test)
    assert len(set(train)) == len(train) and len(set(test)) == len(test)


def test_each_load_gives_the_same_rows_in_the_same_order_which_is_not_the_alphabet(demo):
    rows = [pair["en"] for pair in demo["train"]["translation"]]
    assert rows == [pair["en"] for pair in load_demo()["train"]["translation"]]
    assert sum(a < b for a, b in pairwise(rows)) / len(rows) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("topic", ["teachers?", "cars?", "dogs?", "books?", "money", "schools?", "father", "Mary"])
def test_a_topic_has_enough_sentences_to_select_codes_and_to_evaluate(demo, topic):
    pattern = re.compile(rf"\b{topic}\b", re.I)
    count = {split: sum(bool(pattern.search(pair["en"])) for pair in demo[split]["translation"]) for split in demo}
    assert count["train"] >= 150
    assert count["test"] >= 30


def test_sentences_are_short_and_without_stray_spaces_or_curly_apostrophes(demo):
    for split in demo.values():
        for pair in split["translation"]:
            assert 1 <= len(pair["en"].split()) <= 12
            assert all(text == " ".join(text.split()) and "’" not in text for text in pair.values())
