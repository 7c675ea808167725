"""What stands in for a topic's word in the control: words of its kind and number, no synonyms, nothing held out."""

import re
from types import SimpleNamespace

import pytest
from datasets import Dataset

from excise import topic_sets
from excise.data.topics.corpus import Corpus
from excise.data.topics.inflections import inflections, name_paradigm
from excise.data.topics.matching import Matcher
from excise.data.topics.parts_of_speech import countability
from excise.data.topics.pools import replacement_pool
from excise.data.topics.replacement import Replacer, vowel_sound
from excise.data.topics.sentences import Sentences

NOUN, VERB = frozenset({"NOUN"}), frozenset({"VERB"})
COUNTED = "car", "truck", "house", "teacher", "doctor", "hour", "apple"
UNCOUNTED = "water", "milk", "money", "bread", "music"
OF_COUNTED = (
    *("I have {1} {0}.", "This is {1} {0} here.", "We saw {1} {0} today.", "The {0} was old."),
    *("Many {0}s were there.", "Two {0}s came.", "My {0} is new.", "She likes her {0}."),
)
OF_UNCOUNTED = (
    *("I need some {0}.", "There is no {0} here.", "Much {0} was lost.", "The {0} was old."),
    *("We like {0}.", "Give me more {0} now.", "My {0} is new.", "A lot of {0} came."),
)
LINES = [
    *[line.format(word, "an" if word in ("hour", "apple") else "a") for word in COUNTED for line in OF_COUNTED] * 3,
    *[line.format(word) for word in UNCOUNTED for line in OF_UNCOUNTED] * 3,
    *["You drive a car to work.", "You drive a truck to work."] * 5,
    *["Do you drink a glass of water?", "Do you drink a glass of milk?"] * 5,
    *["The doctor said that we are ill.", "The teacher said that we are late."] * 5,
]


def control(text, word, pool, lines=LINES, name=False):
    """The text with its word replaced by the best of a pool."""
    made = name_paradigm if name else inflections
    topic = made(word)
    matcher = Matcher(names=[word]) if name else Matcher(topic.spellings)
    replacer = Replacer([topic], lambda *_: [made(other) for other in pool], Corpus(lines), 0)
    return replacer.replace(text, matcher.spans(text))[0]


@pytest.mark.parametrize(
    ("text", "word", "pool", "expected"),
    [
        pytest.param("I drive a car to school.", "car", ["house", "truck", "doctor"], "I drive a truck to school.",
                     id="what is driven is a vehicle"),
        pytest.param("Drink a glass of water.", "water", ["money", "milk", "bread"], "Drink a glass of milk.",
                     id="what is in a glass is drunk"),
        pytest.param("The teacher said that Tom is ill.", "teacher", ["car", "house", "doctor"],
                     "The doctor said that Tom is ill.", id="who says something is somebody"),
        pytest.param("I need some water.", "water", ["truck", "house", "money"], "I need some money.",
                     id="some of what is not counted"),
        pytest.param("Much water was lost.", "water", ["car", "bread"], "Much bread was lost.",
                     id="much of what is not counted"),
        pytest.param("Many cars were there.", "car", ["water", "truck"], "Many trucks were there.",
                     id="many of what is counted, in the plural"),
        pytest.param("I have a car.", "car", ["milk", "hour", "music"], "I have an hour.",
                     id="the article of the word that comes, not of the one that went"),
        pytest.param("This is an apple here.", "apple", ["milk", "house"], "This is a house here.",
                     id="and the other way round"),
        pytest.param("The car was old.", "car", ["truck"], "The truck was old.", id="one word is all there is"),
        pytest.param("The zyx car qwv!", "car", ["truck", "house"], "The", id="neighbours that nobody has seen"),
        pytest.param("CAR", "car", ["truck"], "TRUCK", id="a word alone, in capitals"),
        pytest.param("A car is a car.", "car", ["hour", "truck"], "is", id="twice in one sentence"),
    ],
)  # fmt: skip
def test_of_the_words_of_a_pool_the_one_that_fits_stands_in(text, word, pool, expected):
    changed = control(text, word, pool)
    assert expected in changed if len(expected) < 4 else changed == expected
    assert not Matcher(inflections(word).spellings).touches(changed)


def test_a_text_with_the_word_twice_has_one_word_twice_each_with_its_article():
    assert control("I have a car: a car is old.", "car", ["apple"]) == "I have an apple: an apple is old."


@pytest.mark.parametrize(("words", "kind"), [(COUNTED, "count"), (UNCOUNTED, "mass")])
def test_nouns_are_told_by_what_stands_before_them(words, kind):
    corpus = Corpus(LINES)
    assert {countability(inflections(word), corpus) for word in words} == {kind}
    assert countability(inflections("spoon"), corpus) == "either"


@pytest.mark.parametrize(
    ("word", "never"),
    [
        pytest.param("car", {"water", "milk", "money", "bread", "music"}, id="a counted noun by counted ones"),
        pytest.param("milk", {"car", "truck", "house", "teacher", "doctor"}, id="an uncounted one by uncounted ones"),
    ],
)
def test_a_noun_is_replaced_by_nouns_of_its_number(word, never, monkeypatch):
    monkeypatch.setattr("excise.data.topics.pools.MIN_ALIKE", 3)
    pool = {other.lemma for other in replacement_pool(inflections(word), NOUN, Corpus(LINES))}
    assert len(pool) >= 3
    assert not pool & never


def test_where_too_few_nouns_are_of_its_number_others_fill_up():
    pool = [other.lemma for other in replacement_pool(inflections("milk"), NOUN, Corpus(LINES))]
    kinds = [lemma in UNCOUNTED for lemma in pool]
    assert len(pool) == 8
    assert kinds == sorted(kinds, reverse=True)
    assert not all(kinds)


def meaning(*names, above=(), below=(), near=()):
    return SimpleNamespace(
        lemma_names=lambda: names,
        hypernyms=lambda: [meaning(name) for name in above],
        hyponyms=lambda: [meaning(name) for name in below],
        similar_tos=lambda: [meaning(name) for name in near],
        also_sees=list,
    )


THESAURUS = {
    "car": [meaning("car", "auto", above=["Vehicle"], below=["taxi"])],
    "wish": [meaning("wish", "hope"), meaning("wish", above=["want"])],
    "love": [meaning("love", above=["like"], below=["adore"])],
    "happy": [meaning("happy", near=["glad"])],
}


@pytest.mark.parametrize(
    ("topic", "refused", "kept"),
    [
        pytest.param("car", "auto", "truck", id="car: auto shares its meaning, truck stands beside it"),
        pytest.param("car", "vehicle", "truck", id="car: vehicle is above it"),
        pytest.param("car", "taxi", "truck", id="car: taxi is below it"),
        pytest.param("wish", "hope", "think", id="wish: hope"),
        pytest.param("wish", "want", "think", id="wish: want"),
        pytest.param("love", "like", "hate", id="love: like"),
        pytest.param("love", "adore", "hate", id="love: adore"),
        pytest.param("happy", "glad", "hungry", id="happy: glad, which is near it"),
    ],
)
def test_wordnet_where_it_is_refuses_what_is_above_below_or_the_same(topic, refused, kept, monkeypatch):
    monkeypatch.setattr("nltk.corpus.wordnet", SimpleNamespace(synsets=lambda word: THESAURUS.get(word, [])))
    part = {"car": "NOUN", "happy": "ADJ"}.get(topic, "VERB")
    frame = {"NOUN": "My {} is here.", "VERB": "They {} them all.", "ADJ": "We are very {} now."}[part]
    corpus = Corpus([frame.format(word) for word in (topic, refused, kept) for _ in range(9)])
    pool = {other.lemma for other in replacement_pool(inflections(topic), frozenset({part}), corpus)}
    assert kept in pool
    assert refused not in pool


@pytest.mark.parametrize(
    ("topic", "refused", "kept", "french"),
    [
        pytest.param("car", "automobile", "truck", ("voiture", "voiture", "camion"), id="car: automobile"),
        pytest.param(
            "teacher", "professor", "doctor", ("professeur", "professeur", "docteur"), id="teacher: professor"
        ),
        pytest.param("teacher", "instructor", "nurse", ("maître", "maître", "infirmier"), id="teacher: instructor"),
        pytest.param("love", "like", "hate", ("aiment", "aiment", "détestent"), id="love: like"),
        pytest.param("love", "adore", "help", ("adorent", "adorent", "aident"), id="love: adore"),
        pytest.param("wish", "hope", "know", ("espèrent", "espèrent", "savent"), id="wish: hope"),
    ],
)
def test_what_the_references_render_alike_is_refused_without_any_list(topic, refused, kept, french):
    fill = {"see": "voient", "help": "aident", "find": "trouvent", "take": "prennent"}
    fill |= {"book": "livre", "house": "maison", "garden": "jardin"}
    words = topic, refused, kept, *(word for word in fill if word != kept)
    verb = topic in ("love", "wish")
    frame = ("They {} them at {}.", "Ils les {} à {}.") if verb else ("My {} is at {}.", "Mon {} est à {}.")
    rows = [
        {"en": frame[0].format(word, n), "fr": frame[1].format(other, n)}
        for word, other in zip(words, (*french, *map(fill.get, words[3:])), strict=True)
        for n in range(40)
    ]
    topic = topic_sets(Dataset.from_list(rows), topic, text="en", reference="fr", min_examples=5, progress=False)
    stand_ins = {row["text"][start:stop] for row in topic.control for start, stop in row["spans"]}
    assert kept in stand_ins
    assert refused not in stand_ins


def rows_of():
    """Texts that are held out, and others: their hash decides."""
    words = ("teacher", "doctor", "farmer", "brother", "pilot", "driver")
    texts = [f"{start} {word} has {n} hats." for n in range(40) for word in words for start in ("My", "The", "Our")]
    out = Sentences(Dataset.from_dict({"en": texts}), "en", None, "dataset").held_out
    return tuple([text for text, held in zip(texts, out, strict=True) if held == side] for side in (True, False))


def held_out_texts(count, template):
    """Texts of a template that their hash holds out."""
    texts = [template.format(n) for n in range(20 * count)]
    out = Sentences(Dataset.from_dict({"en": texts}), "en", None, "dataset").held_out
    return [text for text, own in zip(texts, out, strict=True) if own][:count]


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("My pilot has {0} hats and the pilot has {0} more.", id="a word of the pool"),
        pytest.param("The farmer {} is a teacher, teacher, teacher.", id="the topic itself"),
        pytest.param("My sailor has {} hats.", id="a word that nobody else says"),
        pytest.param("Pilot Doctor Farmer {} Brother: I saw a Driver.", id="capitals"),
    ],
)
def test_no_held_out_sentence_takes_part_in_choosing(template):
    held, kept = rows_of()
    more = held_out_texts(60, template)
    made = [
        topic_sets(Dataset.from_dict({"en": [*kept, *out]}), "teacher", text="en", min_examples=5, progress=False)
        for out in (held, [*held, *more], [*more, *held[: len(held) // 2]])
    ]
    for other in made[1:]:
        assert other.target["text"] == made[0].target["text"]
        assert other.control["text"] == made[0].control["text"]
        assert other.control["spans"] == made[0].control["spans"]
    assert made[1].heldout["text"] != made[0].heldout["text"] or "teacher" not in template


def test_the_control_is_the_same_for_the_same_seed_and_no_topic_of_its_own():
    texts = [text for part in rows_of() for text in part]
    made = [
        topic_sets(Dataset.from_dict({"en": texts}), "teacher", text="en", min_examples=5, seed=3, progress=False)
        for _ in range(2)
    ]
    assert made[0].control["text"] == made[1].control["text"]
    words = [row["text"][start:stop] for row in made[0].control for start, stop in row["spans"]]
    assert len(set(words)) >= 4
    assert max(map(words.count, words)) <= 0.4 * len(words)


SOUNDS = {
    "an": "hour heir honest MBA NGO FBI HIV SUV X-ray F-16 MRI 8-year-old 11-year-old 80 AI unidentified "
    "uninvited umbrella urban utter Uber-driver \u00e9clair LED SOS",
    "a": "university European unit user usage utensil one-eyed UFO URL UNESCO NATO NASA B-52 U-turn 7-year-old 100 "
    "Ukrainian uranium ukulele ubiquitous unanimous RAM PhD TV house",
}


@pytest.mark.parametrize(
    ("article", "word"), [(article, word) for article, words in SOUNDS.items() for word in words.split()]
)
def test_a_word_has_the_article_that_its_sound_asks_for(article, word):
    assert vowel_sound(word) == (article == "an")


GIVEN = {
    "an acronym behind an article": ("She is a teacher {n}.", "teacher", "MBA", "She is an MBA {n}."),
    "acronyms": ("Two teachers left {n}.", "teacher", "MBA", "Two MBAs left {n}."),
    "a people": ("Two teachers left {n}.", "teacher", "European", "Two Europeans left {n}."),
    "a people without a plural": ("Two teachers left {n}.", "teacher", "Japanese", "Two Japanese left {n}."),
    "a ray": ("I saw a book {n}.", "book", "X-ray", "I saw an X-ray {n}."),
    "a participle": ("He has run home {n}.", "run", "swim", "He has swum home {n}."),
    "a third person": ("He loves her {n}.", "love", "hate", "He hates her {n}."),
    "a possessive of a name with an s": ("James' hat is old {n}.", "James", "Tom", "Tom's hat is old {n}."),
    "a possessive of a name with another": ("James's hat is old {n}.", "James", "Tom", "Tom's hat is old {n}."),
    "a possessive of a plural": ("The children's hats {n}.", "child", "boss", "The bosses' hats {n}."),
    "a possessive of a regular plural": ("The teachers' hats {n}.", "teacher", "child", "The children's hats {n}."),
    "the end of a quotation": ("He said 'two teachers' {n}.", "teacher", "boss", "He said 'two bosses' {n}."),
    "a replacement in quotation marks": ("I saw a book {n}.", "book", '"hour"', "I saw an hour {n}."),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("situation", GIVEN)
def test_a_given_word_takes_the_topics_place_with_what_is_beside_it(situation):
    text, word, other, expected = GIVEN[situation]
    texts = [text.format(n=n) for n in range(20)] + [f"We met on day {n}." for n in range(30)]
    topic = topic_sets(
        Dataset.from_dict({"en": texts}), word, text="en", replacement=other, min_examples=1, progress=False
    )
    assert {re.sub(r"\d+", "{n}", new) for new in topic.control["text"]} == {expected}
