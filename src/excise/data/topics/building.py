"""Building of topic sets from a data set and a word."""

import math
import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value
from tqdm.auto import tqdm

from excise.data.topics.inflections import Paradigm, inflections, name_paradigm
from excise.data.topics.matching import Matcher, Span, capital_share
from excise.data.topics.pools import replacement_pool
from excise.data.topics.replacement import Replacer
from excise.data.topics.sentences import MAX_CORPUS, Sentences, kept_sentences
from excise.data.topics.sets import TopicSets
from excise.data.topics.synonyms import SharedTranslation
from excise.storage.extras import require

NAME_SHARE = 0.9


class _Row(NamedTuple):
    text: str
    reference: str | None
    spans: list[Span]


class _Places(NamedTuple):
    """Where texts with and without the topic are among all; those with the word in compounds only are in neither."""

    topic: np.ndarray
    other: np.ndarray


def topic_sets(
    dataset: Dataset,
    words: str | Sequence[str],
    *,
    text: str,
    reference: str | None = None,
    evaluation: Dataset | None = None,
    max_examples: int = 500,
    max_retain: int = 1000,
    min_examples: int = 20,
    replacement: str | Sequence[str] | None = None,
    prefix: str = "",
    seed: int = 0,
    progress: bool = True,
) -> TopicSets:
    """Target, control and retain sets for selecting, and others for evaluating, disjoint by source text.

    A row belongs to the topic if a word of its source text is one of the words or an inflection of one. Words that are
    capitalised inside sentences in nine of ten cases are names: found with their capital only, and never inflected.
    Rows with the word inside a compound only (*car-free*) are in no set. Of rows with one source text the first counts.
    The sets hold what the model is given: with a T5 that was trained on a task's prefix, each text starts with it.

    What depends on the data set alone is worked out for its first word and kept for further ones, which take a tenth
    of the time: half a kilobyte a text, of the last two data sets, and gone when the data set itself is.

    Args:
        dataset: where the sets for selecting come from.
        words: one word or several that make up the topic (*car* and *automobile*).
        text: the source column, or a key of a translation column (``"en"``).
        reference: likewise for the references.
        evaluation: where the held-out sets come from. Its rows whose source text is in `dataset` are dropped. Without
            it, 30 % of the source texts of `dataset` are held out, chosen by their hash.
        max_examples: the most rows in `target` and in `heldout`.
        max_retain: the most rows in `retain` and in `heldout_retain`.
        min_examples: the fewest rows that each set may have.
        replacement: what stands for the topic in the control, one word or several; found by itself if not given.
        prefix: put before each text of all sets (``"translate English to French: "``); no word is looked for in it.
        seed: of sampling and replacement.
        progress: show a progress bar.

    Returns:
        The sets. Printing them shows counts and ten samples.

    Raises:
        MissingExtraError: the extra `text` is not installed.
        ValueError: an empty data set, an unknown column, something that is no word, too few examples in a set, an
            evaluation set that is contained in `dataset`, or a control that would equal the target.

    Source: CodeUnlearn, section 3.5 (D_T, its control, D_R) and appendix B.1 (how the control is made).

    >>> texts = [f"My {word} has {n} hats." for word in ("teacher", "uncle") for n in range(99)]
    >>> topic = topic_sets(Dataset.from_dict({"en": texts}), "teacher", text="en", replacement="doctor")
    >>> topic.control[0]["text"][:9], topic.control[0]["spans"]
    ('My doctor', [[3, 9]])
    """
    require("text", purpose="topic_sets")
    words = _checked_words(words)
    sizes = {"max_examples": max_examples, "max_retain": max_retain, "min_examples": min_examples}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}.")
    with tqdm(total=5, desc="topic sets: reading", disable=not progress, leave=False) as bar:
        sentences = kept_sentences(dataset, text, reference, "dataset")
        _next(bar, "looking for the words")
        topics = [_paradigm(word, sentences) for word in words]
        matcher = _matcher(topics)
        touched, rows = _sorted_places(sentences, matcher, np.arange(len(sentences)))
        aside = len(sentences) - len(rows.topic) - len(rows.other)
        counts = {"texts": len(sentences), "with the topic": len(rows.topic), "set aside (in compounds)": aside}
        if not len(rows.topic):
            raise ValueError(f"None of the {len(sentences)} texts in {text!r} contains {', '.join(_forms(topics))}.")

        _next(bar, "setting aside what is held out")
        others, learnt, learnt_touched = sentences, sentences, touched
        if evaluation is None:
            held = sentences.held_out
            learnt, learnt_touched = sentences.selecting, touched[~held]
            heldout = _Places(*(places[held[places]] for places in rows))
            rows = _Places(*(places[~held[places]] for places in rows))
        else:
            others = kept_sentences(evaluation, text, reference, "evaluation")
            fresh = np.flatnonzero([key not in sentences.keys for key in others.keys])
            counts["evaluation texts dropped (in the data set too)"] = len(others) - len(fresh)
            if not len(fresh):
                raise ValueError(
                    f"All {len(others)} texts of the evaluation set are in the data set as well; give other rows, "
                    "or leave evaluation out to have some held out."
                )
            _, heldout = _sorted_places(others, matcher, fresh)

        rng = np.random.default_rng(seed)
        chosen = {
            "target": _sample(sentences, rows.topic, matcher, max_examples, rng),
            "retain": _sample(sentences, rows.other, matcher, max_retain, rng),
            "heldout": _sample(others, heldout.topic, matcher, max_examples, rng),
            "heldout_retain": _sample(others, heldout.other, matcher, max_retain, rng),
        }
        few = {name: len(rows) for name, rows in chosen.items() if len(rows) < min_examples}
        if few:
            found = ", ".join(f"{count} in {name}" for name, count in few.items())
            raise ValueError(
                f"Too few examples of {', '.join(words)}: {found}; each set needs min_examples={min_examples}. "
                "Give more data or a more frequent word, or lower min_examples."
            )
        _next(bar, "looking at the words' company")
        replacer = _replacer(topics, learnt, learnt_touched, matcher, replacement, seed)
        _next(bar, "making the control")
        chosen["control"] = [
            _Row(changed, row.reference, spans)
            for row in chosen["target"]
            for changed, spans in [replacer.replace(row.text, row.spans)]
        ]
    build = partial(_dataset, with_reference=reference is not None, prefix=prefix)
    return TopicSets(
        words=words,
        inflections=_forms(topics),
        text=text,
        reference=reference,
        seed=seed,
        counts=counts,
        prefix=prefix,
        **{name: build(rows) for name, rows in chosen.items()},
    )


def _next(bar: tqdm, step: str) -> None:
    bar.update()
    bar.set_description(f"topic sets: {step}")


def _checked_words(words: str | Sequence[str], what: str = "words") -> tuple[str, ...]:
    words = (words,) if isinstance(words, str) else tuple(words)
    if not words:
        raise ValueError(f"{what} is empty; give at least one word.")
    for word in words:
        if not isinstance(word, str) or not word or not all(part.isalpha() for part in word.split("-")):
            raise ValueError(f"{what} must be single words of letters, got {word!r}.")
    return tuple(dict.fromkeys(unicodedata.normalize("NFC", word) for word in words))


def _paradigm(word: str, sentences: Sentences) -> Paradigm:
    share, spelling = capital_share(word, sentences.texts(sentences.with_letters(word)))
    never_seen = math.isnan(share)
    if share >= NAME_SHARE or (word[0].isupper() and (never_seen or share >= 1 - NAME_SHARE)):
        return name_paradigm(spelling if share >= NAME_SHARE else word)
    return inflections(word.lower())


def _matcher(topics: Sequence[Paradigm]) -> Matcher:
    ordinary = [form for topic in topics if not topic.is_name for form in topic.spellings]
    return Matcher(ordinary, [topic.lemma for topic in topics if topic.is_name])


def _forms(topics: Sequence[Paradigm]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for topic in topics for form in topic.spellings))


def _sorted_places(sentences: Sentences, matcher: Matcher, among: np.ndarray) -> tuple[np.ndarray, _Places]:
    """Which texts hold the topic's words in any way, bool (num_texts,), and where those among `among` belong."""
    touched, alone = np.zeros((2, len(sentences)), dtype=bool)
    candidates = sentences.candidates(matcher.spellings)
    for place, text in zip(candidates.tolist(), sentences.texts(candidates), strict=True):
        touched[place] = matcher.touches(text)
        alone[place] = touched[place] and not matcher.in_compound(text)
    return touched, _Places(among[alone[among]], among[~touched[among]])


def _sample(
    sentences: Sentences, places: np.ndarray, matcher: Matcher, size: int, rng: np.random.Generator
) -> list[_Row]:
    chosen = places[rng.permutation(len(places))[:size]]
    return [
        _Row(text, reference, matcher.spans(text))
        for text, reference in zip(sentences.texts(chosen), sentences.references(chosen), strict=True)
    ]


def _replacer(
    topics: Sequence[Paradigm],
    sentences: Sentences,
    touched: np.ndarray,
    matcher: Matcher,
    replacement: str | Sequence[str] | None,
    seed: int,
) -> Replacer:
    corpus = sentences.corpus
    if replacement is not None:
        given = _given_pool(replacement, topics, matcher)
        return Replacer(topics, lambda topic, readings: given, corpus, seed)
    shared = SharedTranslation(corpus, sentences.reference_words, touched[:MAX_CORPUS])

    def refuses(forms: Sequence[str]) -> bool:
        return any(matcher.touches(form) for form in forms) or shared.refuses(forms)

    return Replacer(topics, partial(replacement_pool, corpus=corpus, refuses=refuses), corpus, seed)


def _given_pool(replacement: str | Sequence[str], topics: Sequence[Paradigm], matcher: Matcher) -> list[Paradigm]:
    names = any(topic.is_name for topic in topics)
    pool = []
    for word in _checked_words(replacement, "replacement"):
        other = name_paradigm(word) if names or word[0].isupper() else inflections(word)
        if any(matcher.touches(form) for form in other.spellings):
            raise ValueError(
                f"Replacement {word!r} is the topic itself: target and control would be equal; give another."
            )
        pool.append(other)
    return pool


def _dataset(rows: Sequence[_Row], with_reference: bool, prefix: str) -> Dataset:
    columns = {
        "text": [prefix + row.text for row in rows],
        "spans": [[[len(prefix) + place for place in span] for span in row.spans] for row in rows],
    }
    features = {"text": Value("string"), "spans": List(List(Value("int64")))}
    if with_reference:
        columns["reference"] = [row.reference for row in rows]
        features["reference"] = Value("string")
    return Dataset.from_dict(columns, features=Features(features))
