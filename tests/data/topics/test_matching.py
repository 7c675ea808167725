import unicodedata

import pytest

from excise.data.topics.inflections import inflections, is_one_lemma
from excise.data.topics.matching import Matcher, capital_share, normalise


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("love", {"love", "loves", "loved", "loving"}),
        ("teacher", {"teacher", "teachers"}),
        ("wish", {"wish", "wishes", "wished", "wishing"}),
        ("car", {"car", "cars"}),
        ("water", {"water", "waters", "watered", "watering"}),
        ("wife", {"wife", "wives"}),
    ],
)
def test_all_inflections_are_found_and_nothing_else(word, forms):
    assert set(inflections(word).spellings) == forms


def test_an_inflected_form_leads_to_its_base_form():
    assert inflections("went") == inflections("go")
    assert {"went", "gone", "going", "goes"} <= set(inflections("go").spellings)


def test_a_form_of_several_words_is_refused_with_their_names():
    with pytest.raises(ValueError, match=r"leaf.*leave"):
        inflections("leaves")
    assert is_one_lemma("house")
    assert not is_one_lemma("saw")
    assert not is_one_lemma("those")


def test_a_word_that_nobody_knows_has_a_regular_plural_and_no_other_form():
    assert inflections("blorp").spellings == ("blorp", "blorps")
    assert inflections("with").spellings == ("with",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The teacher's pen.", ["teacher"]),
        ("The teacher\u2019s pen and the TEACHERS' room", ["teacher", "TEACHERS"]),
        ("Teachers, teachers!teacher", ["Teachers", "teachers", "teacher"]),
        ("(teacher)\u2014teacher--teacher", ["teacher", "teacher", "teacher"]),
        ("teacherless superteacher teacher2 teacher_x", []),
        ("teacher-led and ex-teacher", []),
        ("", []),
    ],
)
def test_words_are_found_at_their_boundaries(text, found):
    matcher = Matcher(inflections("teacher").spellings)
    assert [text[start:end] for start, end in matcher.spans(text)] == found


def test_compounds_are_known_apart_from_words_of_their_own():
    matcher = Matcher(["car"])
    assert matcher.in_compound("a car-free car")
    assert matcher.touches("a car-free town")
    assert not matcher.in_compound("the car - my car")
    assert not matcher.touches("I care for a scar")


def test_names_are_found_as_written_or_in_capitals_only():
    text = "Mary will marry, said MARY; a mary is none, nor is Maryland, but Mary's is."
    assert [text[start:end] for start, end in Matcher(names=["Mary"]).spans(text)] == ["Mary", "MARY", "Mary"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_count_however_they_are_composed(form):
    text = unicodedata.normalize(form, "un café")
    assert Matcher(["café"]).touches(text)
    assert not Matcher(["cafe"]).touches(text)


def test_the_same_text_in_other_clothes_is_the_same_text():
    assert normalise(" It\u2019s  \u201cCafe\u0301\u201d ") == normalise('it\'s "CAFÉ"')
    assert normalise("It is.") != normalise("It isn't.")


def test_the_capital_share_ignores_the_beginnings_of_sentences():
    texts = ["Cars are here.", "I see cars.", "Tom saw Mary. Cars came."]
    assert capital_share("cars", texts) == (0.0, "cars")
    assert capital_share("mary", texts) == (1.0, "Mary")
