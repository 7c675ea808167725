"""What is worked out for all words at once equals what is worked out plainly, and is kept as long as it should be."""

import gc
import hashlib
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from threading import Thread

import numpy as np
import pyarrow
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from excise.data.columns import read_column, values_at
from excise.data.topics import sentences as module
from excise.data.topics import topic_sets
from excise.data.topics.association import WordTable, table_words
from excise.data.topics.corpus import EDGE, NEAR, STOPS, Corpus, tokens
from excise.data.topics.inflections import inflections
from excise.data.topics.matching import Matcher, normalise
from excise.data.topics.pools import replacement_pool
from excise.data.topics.replacement import Replacer
from excise.data.topics.sentences import Sentences, kept_sentences
from excise.data.topics.synonyms import SharedTranslation
from excise.data.words import caseless, words
from excise.statistics import benjamini_hochberg, fisher
from tests.data.topics.test_topic_sets import corpus, make

ODD = [
    "He didn't see O'Neil's teachers\nin the\tpark_way 42 times.",
    "Tom's TEACHER: \u201cWhere? Mary can't.\u201d",
    "\u0130stanbul \u0130STANBUL istanbul \u0131stanbul",
    "a \u017fong of \u039f\u0394\u039f\u03a3 and the \u1e9e",
    unicodedata.normalize("NFD", "Le caf\u00e9 d'\u00e9t\u00e9"),
    "two\x1cwords\u2028here",
    "mother-in-law  \u2014 Kelvin \u212a",
    "_",
    "Mary met Tom. The teacher met Mary? the end",
]
# Letters of all sorts, and what holds words together or apart.
WILD = st.text(
    alphabet="aIiTs\u0130\u0131\u017f\u03a3\u03c3\u03c2\u00df\u1e9e\u212ak\u0301e\u00e9-'\u2019 \n.n_1", max_size=12
)


def sentences_of(texts, references=None):
    columns = {"en": texts} if references is None else {"en": texts, "fr": references}
    return Sentences(Dataset.from_dict(columns), "en", "fr" if references else None, "dataset")


def plain_tokens(texts):
    flat = [EDGE, EDGE]
    for text in texts:
        flat += [*tokens(text), EDGE, EDGE]
    return flat


def plain_case(flat):
    middle = Counter(word for before, word in pairwise(flat) if before not in STOPS)
    lower = Counter()
    for word, count in middle.items():
        lower[word.lower()] += count
    proper = {word for word, count in middle.items() if word[0].isupper() and count >= 0.9 * lower[word.lower()]}
    return proper, [word if word in proper else word.lower() for word in flat]


@given(st.lists(WILD, max_size=6))
def test_a_corpus_counts_as_one_would_text_by_text(texts):
    texts = [*ODD, *texts]
    corpus = Corpus(texts)
    proper, flat = plain_case(plain_tokens(texts))
    assert corpus.proper == proper
    assert list(corpus.count.items()) == list(Counter(flat).items())  # in order of appearance as well
    for word in {*flat} - {EDGE}:
        holders = [
            place
            for place, text in enumerate(texts)
            if any(token == word or (token not in proper and token.lower() == word) for token in tokens(text))
        ]
        assert corpus.texts([word]).tolist() == holders
    names = [len(word) > 1 and word in proper for word in flat]
    for word in {*flat} - {EDGE}:
        places = [place for place, other in enumerate(flat) if other == word]
        beside = [names[place - 1] or names[place + 1] for place in places]
        assert corpus.company_share(word) == pytest.approx(sum(beside) / len(places))


def test_neighbours_are_counted_as_one_would_by_hand():
    corpus = Corpus(ODD)
    _, flat = plain_case(plain_tokens(ODD))
    by_frequency = sorted(Counter(flat).items(), key=lambda item: -item[1])
    rank = {word: min(number, NEAR) for number, (word, _) in enumerate(by_frequency)}

    def frame(word):
        counts = Counter()
        for left, middle, right in zip(flat, flat[1:], flat[2:], strict=False):
            if middle == word:
                counts.update([("l", rank[left]), ("r", rank[right]), (rank[left], rank[right])])
        return counts

    for word, other in [("Mary", "Tom"), ("the", "teacher"), ("istanbul", "end")]:
        a, b = frame(word), frame(other)
        shared = sum((a[key] * b[key]) ** 0.5 for key in a)
        expected = shared / (sum(a.values()) * sum(b.values())) ** 0.5
        assert corpus.frame_similarity([word], [[other], [None]]) == pytest.approx([expected, 0])


@given(st.lists(st.sampled_from(["the", "Tom", "met", ".", "unknown", EDGE]), min_size=4, max_size=4))
def test_a_gap_fits_where_its_stretches_were_seen(near):
    corpus = Corpus(ODD)
    _, flat = plain_case(plain_tokens(ODD))
    for form in ("Mary", "teacher", "met", "nowhere"):
        around = [
            [flat[place + offset] for offset in (-2, -1, 1, 2)] for place, word in enumerate(flat) if word == form
        ]
        stretches = [slice(1, 2), slice(2, 3), slice(0, 2), slice(1, 3), slice(2, 4)]
        seen = tuple(sum(other[part] == near[part] for other in around) for part in stretches)
        company, gap = corpus.company(form), corpus.gap(near[:2], near[2:])
        assert company.uses == len(around)
        assert company.counts(gap) == seen
        assert company.fit(gap) == sum(count > 0 for count in seen)


def test_words_and_pairs_are_counted_as_one_would_by_hand():
    corpus = Corpus(ODD)
    _, flat = plain_case(plain_tokens(ODD))
    pairs, words = Counter(pairwise(flat)), Counter(flat)
    for first in ("Mary", "the", "teacher", EDGE, "nowhere"):
        for second in ("met", "Tom", "?", EDGE, "nowhere"):
            before, after, *_ = corpus.near(["x", first], [second])[1:]
            assert corpus.count_of(before) == words[first]
            assert corpus.pair_count(before, after) == pairs[first, second]
    thirds = Counter()
    for place, word in enumerate(flat):
        if word == "the":
            ahead = [*flat[place + 1 : place + 4], EDGE]
            thirds[EDGE if EDGE in ahead[:2] else ahead[2]] += 1
    for right in (["end", "x"], ["a", "b", "?"], ["a", "b", "nowhere"]):
        assert corpus.company("the").third.get(corpus.third(right), 0) == thirds[[*right, EDGE][2]]


def plain_words(text):
    return [word.text.lower() for word in words(text) if not word.text.isdigit()]


def plain_associated_words(texts_with, texts_without, q=0.05, min_lift=4.0, min_share=0.01, most=25):
    left = [set(plain_words(text)) for text in texts_with]
    within = Counter(word for words in left for word in words)
    without = Counter(word for text in texts_without for word in set(plain_words(text)))
    least, chosen = max(3, int(np.ceil(min_share * len(left)))), []
    for lift in (10 * min_lift, min_lift):
        while left and len(chosen) < most:
            counts = Counter(word for words in left for word in words)
            often = sorted(
                word
                for word, count in counts.items()
                if count >= least and len(word) > 1 and count / len(left) >= lift * without[word] / len(texts_without)
            )
            if not often:
                break
            own, others = (np.array([group[word] for word in often]) for group in (counts, without))
            pvalues = fisher(own, len(left), others, len(texts_without)).pvalue
            qvalues = benjamini_hochberg(np.concatenate([pvalues, np.ones(len(counts) - len(often))]))
            best = min(range(len(often)), key=lambda row: (pvalues[row], -own[row]))
            if qvalues[best] > q:
                break
            word = often[best]
            left = [words for words in left if word not in words]
            shares = within[word] / len(texts_with), without[word] / len(texts_without)
            if shares[0] >= min_lift * shares[1]:
                chosen.append((word, *shares, counts[word], pvalues[best], qvalues[best]))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_associated_words_are_those_of_plain_sets_of_words(seed):
    rng = np.random.default_rng(seed)
    pool = ["Le", "l'eau", "école", "mot", "d'un", "pro", "pro pro", "été\nfin", "x", "", "Tom", "_a_", "n°5"]
    share = rng.dirichlet(np.ones(len(pool)) / 2, size=2)
    texts = [" ".join(rng.choice(pool, 5, p=share[int(n >= 60)])) for n in range(300)]
    expected = plain_associated_words(texts[:60], texts[60:])
    table, topic = WordTable([*texts, None, ""]), np.arange(302) < 60
    assert [tuple(entry) for entry in table_words(table, topic, ~topic & table.filled)] == expected
    for word in ("pro", "eau", "nowhere"):
        assert table.texts([word]).tolist() == [word in plain_words(text or "") for text in [*texts, None, ""]]


@given(st.text(alphabet=[chr(code) for code in range(128)]))
def test_plain_letters_are_evened_out_as_all_are(text):
    assert normalise(text) == " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def test_a_letter_is_found_as_each_that_is_the_same_in_another_case():
    letters = [char for char in map(chr, range(sys.maxunicode + 1)) if char.lower() != char or char.upper() != char]
    sentences = sentences_of(letters)
    every = sentences.texts(slice(None))
    for char in every[::9]:
        same = {place for place, other in enumerate(every) if caseless(other) == caseless(char)}
        assert same <= set(sentences.candidates([char]).tolist())


@given(st.lists(WILD, max_size=6), st.lists(WILD.filter(bool), min_size=1, max_size=2))
def test_no_text_that_a_search_would_find_is_left_out(texts, searched):
    sentences = sentences_of([*ODD, *texts])
    every = sentences.texts(slice(None))
    for matcher in (Matcher(searched), Matcher(names=searched)):
        hits = {place for place, text in enumerate(every) if matcher.touches(text)}
        assert hits <= set(sentences.candidates(matcher.spellings).tolist())
    for word in (word for word in searched if EDGE not in word):
        holders = [place for place, text in enumerate(every) if caseless(word) in caseless(text)]
        assert sentences.with_letters(word).tolist() == holders


def test_texts_count_once_and_with_their_first_usable_reference():
    texts = ["One.", "one. ", None, "  ", "TWO", "Two", "Three"]
    sentences = sentences_of(texts, [None, "un", "x", "x", "deux", "deux!", " "])
    assert list(sentences.keys.items()) == [("one.", 1), ("two", 4)]
    assert sentences.texts(np.array([1, 0])) == ["TWO", "one. "]
    assert sentences.references(slice(None)) == ["un", "deux"]
    assert sentences_of(texts).references(slice(None)) == [None] * 3


def test_rows_without_a_translation_give_none():
    rows = Dataset.from_dict({"translation": [{"en": "Hi.", "fr": None}, None, {"en": "No.", "fr": "Non."}]})
    assert read_column(rows, "fr") == [None, None, "Non."]
    assert read_column(rows.select([2, 1]), "en") == ["No.", None]


@given(st.lists(st.lists(st.none() | st.text(max_size=3), max_size=4), max_size=4), st.data())
def test_rows_are_read_from_wherever_their_chunk_is(chunks, data):
    every = [value for chunk in chunks for value in chunk]
    rows = data.draw(st.lists(st.sampled_from(range(len(every))), max_size=9)) if every else []
    column = pyarrow.chunked_array(chunks, type=pyarrow.string())
    values = values_at(column, np.array(rows, dtype=np.int64))
    assert values == [every[row] for row in rows]
    assert {type(value) for value in values} <= {str, type(None)}


def plain_topic_sets(dataset, word, evaluation, seed, replaced):
    """The sets as one would make them row by row, with each text looked at; a control needs a word's company."""
    matcher, rng = Matcher(inflections(word).spellings), np.random.default_rng(seed)
    pairs = {}
    for row in dataset["translation"]:
        pairs.setdefault(normalise(row["en"]), (row["en"], row["fr"]))
    fresh = {}
    for row in evaluation["translation"] if evaluation else []:
        if normalise(row["en"]) not in pairs:
            fresh.setdefault(normalise(row["en"]), (row["en"], row["fr"]))

    def is_held(key):
        return evaluation is None and int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 < 0.3

    def sample(rows, topic, most):
        kept = [pair for pair in rows if bool(matcher.spans(pair[0])) == topic]
        return [kept[index] for index in rng.permutation(len(kept))[:most]]

    own = [pair for key, pair in pairs.items() if not is_held(key)]
    held = list(fresh.values()) if evaluation else [pair for key, pair in pairs.items() if is_held(key)]
    target, retain = sample(own, True, 30), sample(own, False, 40)
    sets = {"target": target, "retain": retain, "heldout": sample(held, True, 30)}
    sets["heldout_retain"] = sample(held, False, 40)

    corpus = Corpus([source for source, _ in own])
    topic = np.array([matcher.touches(source) for source, _ in own])
    shared = SharedTranslation(corpus, WordTable([reference for _, reference in own]), topic)
    pool = (
        (lambda *_: [inflections(replaced)])
        if replaced
        else lambda lemma, readings: replacement_pool(
            lemma,
            readings,
            corpus,
            lambda forms: any(map(matcher.touches, forms)) or shared.refuses(forms),
        )
    )
    replacer = Replacer([inflections(word)], pool, corpus, seed)
    sets["control"] = [(replacer.replace(text, matcher.spans(text))[0], reference) for text, reference in target]
    return sets


@pytest.mark.parametrize(("evaluated", "replaced"), [(False, None), (True, None), (True, "baker")])
def test_the_sets_are_those_that_one_makes_row_by_row(evaluated, replaced):
    dataset, evaluation = corpus(0, 30), corpus(20, 60) if evaluated else None
    for word, seed in [("teacher", 0), ("farmer", 5)]:
        topic = make(
            dataset, word, evaluation=evaluation, seed=seed, max_examples=30, max_retain=40, replacement=replaced
        )
        for name, rows in plain_topic_sets(dataset, word, evaluation, seed, replaced).items():
            own = getattr(topic, name)
            assert list(zip(own["text"], own["reference"], strict=True)) == rows, name


@pytest.fixture
def readings(monkeypatch):
    """The data sets that were read, by their names in messages."""
    read, original = [], Sentences.__init__

    def count(self, dataset, text, reference, what):
        read.append(what)
        original(self, dataset, text, reference, what)

    monkeypatch.setattr(module, "KEPT", {})
    monkeypatch.setattr(Sentences, "__init__", count)
    return read


def test_a_data_set_is_read_for_its_first_word_only(readings):
    dataset, evaluation = corpus(0, 30), corpus(20, 60)
    first = [make(dataset, word, evaluation=evaluation, min_examples=5) for word in ("teacher", "pilot", "teacher")]
    assert readings == ["dataset", "evaluation"]
    assert first[0].digest() == first[2].digest()
    # Another object with the same rows gives the same, and is read anew; so is the same one in the other direction.
    again = make(corpus(0, 30), "pilot", evaluation=evaluation, min_examples=5)
    assert (again.digest(), again.counts) == (first[1].digest(), first[1].counts)
    make(dataset, "médecin", text="fr", reference="en", replacement="ami", min_examples=5)
    assert readings == ["dataset", "evaluation", "dataset", "dataset"]


def test_a_data_set_that_was_changed_in_place_is_read_anew(readings):
    dataset = corpus(0, 30)
    plain = make(dataset, min_examples=5).digest()
    dataset.set_transform(lambda rows: {"en": ["nothing"] * len(rows["translation"])})
    assert make(dataset, min_examples=5).digest() == plain  # the transform is not looked at, as ever
    shorter = dataset.select(range(300))
    assert make(shorter, min_examples=5).counts["texts"] == 300
    assert readings == ["dataset"] * 3


def test_two_data_sets_are_kept_at_most_and_none_that_is_gone(readings):
    datasets = [corpus(0, last) for last in (20, 21, 22)]
    for dataset in [*datasets, datasets[1], datasets[0]]:
        kept_sentences(dataset, "en", "fr", "dataset")
    assert len(readings) == 4  # the second was kept, and the first had to make room for the third
    assert list(module.KEPT["dataset"]) == [datasets[1], datasets[0]]
    del dataset, datasets
    gc.collect()
    assert not len(module.KEPT["dataset"])


def test_threads_that_ask_at_once_get_the_same_sets(readings):
    dataset, digests = corpus(0, 30), []
    expected = make(corpus(0, 30), min_examples=5).digest()
    threads = [
        Thread(target=lambda: digests.append(make(dataset, min_examples=5, progress=False).digest())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [expected] * 4


@pytest.mark.parametrize("progress", [True, False])
def test_a_progress_bar_is_shown_where_it_is_wanted(progress, capsys):
    make(progress=progress, min_examples=5)
    shown = capsys.readouterr().err
    assert ("topic sets: reading" in shown) == progress
    assert ("5/5" in shown or "100%" in shown or "4/5" in shown) == progress


def test_a_failure_leaves_nothing_half_made_behind():
    dataset = corpus(0, 30)
    with pytest.raises(ValueError, match="None of the"):
        make(dataset, "giraffe")
    assert make(dataset, min_examples=5).digest() == make(corpus(0, 30), min_examples=5).digest()
    assert topic_sets(dataset, "teacher", text="en", min_examples=5, progress=False).reference is None
