"""Building of topic sets from a data set and a word."""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value

from excise.data.topics.columns import read_column
from excise.data.topics.corpus import Corpus
from excise.data.topics.inflections import Paradigm, inflections, name_paradigm
from excise.data.topics.matching import Matcher, Span, capital_share, normalise
from excise.data.topics.pools import replacement_pool
from excise.data.topics.replacement import Replacer
from excise.data.topics.sets import TopicSets
from excise.data.topics.synonyms import SharedTranslation
from excise.storage.extras import require

# Without an evaluation set of its own, this share of the source texts is held out, by a hash of each text.
HELDOUT_SHARE = 0.3
NAME_SHARE = 0.9
# Sentences that the replacement statistics learn from; more would not change the words found.
MAX_CORPUS = 200_000


class _Row(NamedTuple):
    text: str
    reference: str | None
    spans: list[Span]


class _Rows(NamedTuple):
    """What a data set holds, by the normalised text (each text once)."""

    topic: dict[str, _Row]
    other: dict[str, _Row]
    counts: dict[str, int]


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
) -> TopicSets:
    """Target, control and retain sets for selecting, and others for evaluating, disjoint by source text.

    A row belongs to the topic if a word of its source text is one of the words or an inflection of one. Words that are
    capitalised inside sentences in nine of ten cases are names: found with their capital only, and never inflected.
    Rows with the word inside a compound only (*car-free*) are in no set. Of rows with one source text the first counts.
    The sets hold what the model is given: with a T5 that was trained on a task's prefix, each text starts with it.

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
    source_pairs = _pairs(dataset, text, reference, "dataset")
    topics = [_paradigm(word, [source for source, _ in source_pairs.values()]) for word in words]
    matcher = _matcher(topics)
    rows = _sorted_rows(source_pairs, matcher)
    counts = {"texts": len(source_pairs), **rows.counts}
    if not rows.topic:
        raise ValueError(f"None of the {len(source_pairs)} texts in {text!r} contains {', '.join(_forms(topics))}.")

    if evaluation is None:
        heldout, rows = _split(rows)
    else:
        pairs = _pairs(evaluation, text, reference, "evaluation")
        fresh = {key: pair for key, pair in pairs.items() if key not in source_pairs}
        counts["evaluation texts dropped (in the data set too)"] = len(pairs) - len(fresh)
        if not fresh:
            raise ValueError(
                f"All {len(pairs)} texts of the evaluation set are in the data set as well; give other rows, "
                "or leave evaluation out to have some held out."
            )
        heldout = _sorted_rows(fresh, matcher)

    rng = np.random.default_rng(seed)
    chosen = {
        "target": _sample(rows.topic, max_examples, rng),
        "retain": _sample(rows.other, max_retain, rng),
        "heldout": _sample(heldout.topic, max_examples, rng),
        "heldout_retain": _sample(heldout.other, max_retain, rng),
    }
    few = {name: len(rows) for name, rows in chosen.items() if len(rows) < min_examples}
    if few:
        found = ", ".join(f"{count} in {name}" for name, count in few.items())
        raise ValueError(
            f"Too few examples of {', '.join(words)}: {found}; each set needs min_examples={min_examples}. "
            "Give more data or a more frequent word, or lower min_examples."
        )
    chosen["control"] = _control(chosen["target"], topics, source_pairs, matcher, replacement, seed)
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


def _checked_words(words: str | Sequence[str], what: str = "words") -> tuple[str, ...]:
    words = (words,) if isinstance(words, str) else tuple(words)
    if not words:
        raise ValueError(f"{what} is empty; give at least one word.")
    for word in words:
        if not isinstance(word, str) or not word or not all(part.isalpha() for part in word.split("-")):
            raise ValueError(f"{what} must be single words of letters, got {word!r}.")
    return tuple(dict.fromkeys(unicodedata.normalize("NFC", word) for word in words))


def _pairs(dataset: Dataset, text: str, reference: str | None, what: str) -> dict[str, tuple[str, str | None]]:
    """Normalised text -> (text, reference), first come first kept, without empty texts or references."""
    sources = read_column(dataset, text)
    if not sources:
        raise ValueError(f"The {what} is empty; it needs rows with a text in {text!r}.")
    references = read_column(dataset, reference) if reference is not None else [""] * len(sources)
    pairs: dict[str, tuple[str, str | None]] = {}
    for source, target in zip(sources, references, strict=True):
        usable = isinstance(source, str) and isinstance(target, str) and (reference is None or target.strip())
        if usable and (key := normalise(source)) and key not in pairs:
            pairs[key] = (source, target if reference is not None else None)
    if not pairs:
        raise ValueError(f"None of the {len(sources)} rows of the {what} has a text in {text!r}.")
    return pairs


def _paradigm(word: str, texts: Iterable[str]) -> Paradigm:
    share, spelling = capital_share(word, (text for text in texts if word.lower() in text.lower()))
    never_seen = math.isnan(share)
    if share >= NAME_SHARE or (word[0].isupper() and (never_seen or share >= 1 - NAME_SHARE)):
        return name_paradigm(spelling if share >= NAME_SHARE else word)
    return inflections(word.lower())


def _matcher(topics: Sequence[Paradigm]) -> Matcher:
    ordinary = [form for topic in topics if not topic.is_name for form in topic.spellings]
    return Matcher(ordinary, [topic.lemma for topic in topics if topic.is_name])


def _forms(topics: Sequence[Paradigm]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for topic in topics for form in topic.spellings))


def _sorted_rows(pairs: Mapping[str, tuple[str, str | None]], matcher: Matcher) -> _Rows:
    rows = _Rows({}, {}, {})
    for key, (source, target) in pairs.items():
        if not matcher.touches(source):
            rows.other[key] = _Row(source, target, [])
        elif not matcher.in_compound(source):
            rows.topic[key] = _Row(source, target, matcher.spans(source))
    aside = len(pairs) - len(rows.topic) - len(rows.other)
    rows.counts.update({"with the topic": len(rows.topic), "set aside (in compounds)": aside})
    return rows


def _split(rows: _Rows) -> tuple[_Rows, _Rows]:
    held, kept = _Rows({}, {}, {}), _Rows({}, {}, {})
    for kind in ("topic", "other"):
        for key, row in getattr(rows, kind).items():
            bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
            getattr(held if bucket < HELDOUT_SHARE else kept, kind)[key] = row
    return held, kept


def _sample(rows: Mapping[str, _Row], size: int, rng: np.random.Generator) -> list[_Row]:
    values = list(rows.values())
    return [values[index] for index in rng.permutation(len(values))[:size]]


def _control(
    target: Sequence[_Row],
    topics: Sequence[Paradigm],
    pairs: Mapping[str, tuple[str, str | None]],
    matcher: Matcher,
    replacement: str | Sequence[str] | None,
    seed: int,
) -> list[_Row]:
    known = list(pairs.values())[:MAX_CORPUS]
    corpus = Corpus([source for source, _ in known])
    if replacement is not None:
        given = _given_pool(replacement, topics, matcher)
        replacer = Replacer(topics, lambda topic, readings: given, corpus, seed)
    else:
        topic_rows = np.array([matcher.touches(source) for source, _ in known])
        shared = SharedTranslation(corpus, [target for _, target in known], topic_rows)

        def refuses(forms: Sequence[str]) -> bool:
            return any(matcher.touches(form) for form in forms) or shared.refuses(forms)

        pool = partial(replacement_pool, corpus=corpus, refuses=refuses)
        replacer = Replacer(topics, pool, corpus, seed)
    rows = []
    for row in target:
        changed, spans = replacer.replace(row.text, row.spans)
        rows.append(_Row(changed, row.reference, spans))
    return rows


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
