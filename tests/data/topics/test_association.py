import pytest

from excise.data.topics import associated_words
from excise.data.topics.association import WordTable

OTHERS = [f"le chien numéro {n} dort" for n in range(100)]


def test_each_rendering_of_a_topic_is_found_and_function_words_are_not():
    texts = ["j'aimerais être le roi"] * 40 + ["si seulement le roi dormait"] * 20 + ["le désir est le roi"] * 10
    found = [entry.word for entry in associated_words(texts, [*OTHERS, *["si tu veux, être le roi est beau"] * 30])]
    assert found[0] == "aimerais"
    assert set(found) & {"seulement", "dormait"}
    assert "désir" in found
    assert not {"le", "roi", "être", "j"} & set(found)


def test_a_companion_that_explains_nothing_more_is_left_out():
    texts = ["le professeur est là"] * 30 + ["le professeur de cette école"] * 25
    assert [entry.word for entry in associated_words(texts, OTHERS)] == ["professeur"]


def test_a_word_made_needless_by_later_ones_is_dropped():
    # Tom is in all rows, and in some of the others as well; the topic is Marie or Mary.
    texts = ["tom aime marie ici"] * 40 + ["tom voit mary ici"] * 40
    others = ["tom est ici"] * 10 + [f"voit aime ici {n}" for n in range(40)] + OTHERS * 3
    assert {entry.word for entry in associated_words(texts, others)} == {"marie", "mary"}


def test_two_halves_of_one_population_have_no_associated_words():
    texts = [f"mot{n % 7} autre{n % 5} mot{n % 11}" for n in range(400)]
    assert associated_words(texts[::2], texts[1::2]) == []


def test_shares_and_cover_are_counted_right():
    (entry,) = associated_words(["eau claire"] * 30 + ["rien"] * 10, [*OTHERS, "claire", *["rien"] * 40, "claire"] * 5)[
        :1
    ]
    assert (entry.word, entry.share_with, entry.share_without, entry.covered) == ("eau", 0.75, 0.0, 30)
    assert 0 < entry.pvalue <= entry.qvalue < 1e-6


def test_an_empty_side_is_refused():
    with pytest.raises(ValueError, match="0 with the topic and 100 without"):
        associated_words([], OTHERS)


def test_elision_ends_a_word():
    assert set(WordTable(["J\u2019aimerais l'eau"]).words) == {"j", "aimerais", "l", "eau"}
