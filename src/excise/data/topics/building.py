"""Building of topic sets from a data set and a word."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value
from tqdm.auto import tqdm

from excise.data.topics.control_words import topic_replacer
from excise.data.topics.given import bare_word, checked_words, meant
from excise.data.topics.inflections import Paradigm
from excise.data.topics.languages import HYPHENED, chosen_language
from excise.data.topics.matching import Matcher, Span
from excise.data.topics.readings import Taken
from excise.data.topics.sentences import Sentences, kept_sentences
from excise.data.topics.sets import TopicSets
from excise.data.topics.taking import taken_words
from excise.data.topics.wording import ASIDE, TopicMatcher
from excise.storage.display import warn
from excise.storage.expected import expects
from excise.storage.extras import require

# Texts whose words tell their language.
LANGUAGE_TEXTS = 2_000
# A topic in more than this share of so many texts is told.
MOST_SHARE, MANY_TEXTS = 1 / 3, 1_000


class _Row(NamedTuple):
    text: str
    reference: str | None
    spans: list[Span]


class _Places(NamedTuple):
    """Where texts with and without the topic are among all; those that are set aside are in neither."""

    topic: np.ndarray
    other: np.ndarray


@expects("seed", max_examples="whole", max_retain="whole", min_examples="whole")
def topic_sets(
    dataset: Dataset,
    words: str | Sequence[str],
    *,
    text: str,
    reference: str | None = None,
    reading: str | Mapping[str, str] | None = None,
    forms: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    parts: bool | Sequence[str] = False,
    evaluation: Dataset | None = None,
    max_examples: int = 500,
    max_retain: int = 1000,
    min_examples: int = 20,
    replacement: str | Sequence[str] | None = None,
    prefix: str = "",
    language: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> TopicSets:
    """Target, control and retain sets for selecting, and others for evaluating, disjoint by source text.

    A row belongs to the topic if its source text has one of the words, names or phrases, or an inflection of one. What
    is capitalised inside sentences in nine of ten cases is a name: never inflected, and one of a single word is found
    with its capital only. A capital that is given is kept where the data has the word with and without (*US* and *us*,
    *May* and *may*); where a sentence starts, or all is in capitals, such a word does not tell, and the row is in no
    set. A phrase may be written in all ways of `excise.data.topics.spellings`; the spans cover the whole of it.

    A form that belongs to several words (*found*, *leaves*) is taken as the one that nine of ten occurrences are by
    their neighbours, with a warning; if there is none, the error tells the counts, and `reading` or `forms` decides.
    What was taken is printed with the sets.

    Rows with the word inside a compound only (*car-free*) are in no set. Of rows with one source text the first counts.
    The sets hold what the model is given: with a T5 that was trained on a task's prefix, each text starts with it.

    What depends on the data set alone is worked out for its first word and kept for further ones, which take a tenth
    of the time: half a kilobyte a text, of the last two data sets, and gone when the data set itself is.

    Args:
        dataset: where the sets for selecting come from.
        words: a word, name or phrase, or several that make a topic (*car* and *automobile*, all names of a person).
        text: the source column, or a key of a translation column (``"en"``).
        reference: likewise for the references.
        reading: which of its readings a word has: ``"name"``, ``"word"``, a lemma (``"find"``), or ``"noun"``,
            ``"verb"``, ``"adjective"`` or ``"adverb"``; for several words a dictionary.
        forms: the exact forms to look for, in place of all that is found out; for several words a dictionary.
        parts: whether the last word of a name stands for it alone (a surname; what ends a name, *Jr.* or *II*, is left
            out), or which parts do, of one word or several (*da Vinci*).
        evaluation: where the held-out sets come from. Its rows whose source text is in `dataset` are dropped. Without
            it, 30 % of the source texts of `dataset` are held out, chosen by their hash.
        max_examples: the most rows in `target` and in `heldout`.
        max_retain: the most rows in `retain` and in `heldout_retain`.
        min_examples: the fewest rows that each set may have.
        replacement: what stands for the topic in the control, one word or several; found by itself if not given. It
            takes the topic's form; *a* and *an* before it and an *'s* behind it are put right, other words stay.
        prefix: put before each text of all sets (``"translate English to French: "``); no word is looked for in it.
        language: of the source texts, as `"fr"`: inflections and controls are made for it. Told from the texts if not
            given, with a warning where they are plainly not English. English, French, German and Spanish are tested.
        seed: of sampling and replacement.
        progress: show a progress bar.

    Returns:
        The sets. Printing them shows counts and ten samples.

    Raises:
        MissingExtraError: the extra `text` is not installed.
        ValueError: an empty data set, an unknown column, something that is no word or of unclear reading, too few
            examples in a set, an evaluation set that is contained in `dataset`, or a control that would equal the
            target.

    Source: CodeUnlearn, section 3.5 (D_T, its control, D_R) and appendix B.1 (how the control is made). There D_T is of
    validation and test sets, here of `dataset`, the train split, so that nothing that evaluates has chosen; and D_R has
    as many rows as D_T, here up to `max_retain`.

    >>> texts = [f"My {word} has {n} hats." for word in ("teacher", "uncle") for n in range(99)]
    >>> topic = topic_sets(Dataset.from_dict({"en": texts}), "teacher", text="en", replacement="doctor")
    >>> topic.control[0]["text"][:9], topic.control[0]["spans"]
    ('My doctor', [[3, 9]])
    """
    require("text", purpose="topic_sets")
    given = checked_words(words)
    sizes = {"max_examples": max_examples, "max_retain": max_retain, "min_examples": min_examples}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}.")
    with tqdm(total=5, desc="topic sets: reading", disable=not progress, leave=False) as bar:
        sentences = kept_sentences(dataset, text, reference, "dataset")
        _next(bar, "looking for the words")
        language = chosen_language(language, lambda: sentences.texts(slice(LANGUAGE_TEXTS)), text)
        every = [sentences]
        if evaluation is not None and language != "en":
            every.append(kept_sentences(evaluation, text, reference, "evaluation"))
        bare = {bare_word(word, sentences): word for word in given}
        words = tuple(bare)
        taken = taken_words(bare, every, language, reading, forms, parts, min_examples)
        topics = [one.paradigm for one in taken]
        matcher = TopicMatcher(
            dict.fromkeys(form for one in taken for form in one.forms), _apart(taken), HYPHENED.get(language, ())
        )
        touched, rows, aside, by_form = _sorted_places(sentences, matcher, np.arange(len(sentences)))
        counts = {"texts": len(sentences), "with the topic": len(rows.topic), ASIDE["compound"]: 0, **aside}
        counts |= sentences.gaps
        lines = tuple(one.line(by_form) for one in taken)
        if not len(rows.topic):
            set_aside = f" ({sum(aside.values())} set aside; {'; '.join(lines)})" if aside else ""
            otherwise = "" if aside else "".join(meant(word, sentences) for word in words)
            message = f"None of the {len(sentences)} texts in {text!r} contains {', '.join(_forms(topics))}{set_aside}."
            message += otherwise
            raise ValueError(message)
        _warn_of_words(taken, words, sentences, by_form, touched)
        for one, line in zip(taken, lines, strict=True):
            if one.unclear:
                warn(f"{line}.")

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
            heldout = _sorted_places(others, matcher, fresh)[1]

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
                f"{_remedy(few)}{''.join(meant(word, sentences) for word in words if ',' in word)} {'; '.join(lines)}."
            )
        _next(bar, "looking at the words' company")
        replacer = topic_replacer(topics, learnt, learnt_touched, matcher, replacement, language, seed)
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
        language=language,
        wording=matcher.forms,
        apart=_apart(taken),
        taken=lines,
        **{name: build(rows) for name, rows in chosen.items()},
    )


def _warn_of_words(
    taken: Sequence[Taken], words: Sequence[str], sentences: Sentences, by_form: Counter[str], touched: np.ndarray
) -> None:
    """Tells of a word that no row has, and of a topic that so many rows have that little is left beside it."""
    for one, word in zip(taken, words, strict=True):
        if not any(by_form[form.spelling] for form in one.forms):
            warn(f"No row of the topic has {one.given!r}, beside its other words.{meant(word, sentences)}")
    if len(touched) >= MANY_TEXTS and touched.mean() > MOST_SHARE:
        warn(
            f"{touched.sum()} of {len(touched)} texts hold {', '.join(words)}: forgetting it changes much of what the "
            "model is used for, and the other texts alone tell what is to stay. Give a word that is rarer, unless the "
            "data was gathered for this topic."
        )


def _remedy(few: Mapping[str, int]) -> str:
    if all("retain" in name for name in few):
        return (
            "Nearly all texts hold the topic: give data with other texts, too, or a rarer word, or lower min_examples."
        )
    return "Give more data or a more frequent word, or lower min_examples."


def _next(bar: tqdm, step: str) -> None:
    bar.update()
    bar.set_description(f"topic sets: {step}")


def _apart(taken: Sequence[Taken]) -> tuple[str, ...]:
    return tuple(one.apart for one in taken if one.apart)


def _forms(topics: Sequence[Paradigm]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for topic in topics for form in topic.spellings))


class _Sorted(NamedTuple):
    """Which texts hold the topic in any way, where they belong, why some are in no set, and how often each form is."""

    touched: np.ndarray
    places: _Places
    aside: dict[str, int]
    by_form: Counter[str]


def _sorted_places(sentences: Sentences, matcher: TopicMatcher, among: np.ndarray) -> _Sorted:
    touched, alone = np.zeros((2, len(sentences)), dtype=bool)
    aside, by_form = Counter[str](), Counter[str]()
    candidates = sentences.candidates(matcher.spellings)
    if matcher.is_apart:
        parts = [place for place, text in enumerate(sentences.texts(slice(None))) if matcher.in_parts(text)]
        candidates = np.union1d(candidates, np.array(parts, dtype=np.int64))
    for place, text in zip(candidates.tolist(), sentences.texts(candidates), strict=True):
        if not matcher.touches(text):
            continue
        touched[place] = True
        reason = matcher.aside(text)
        if reason is None:
            alone[place] = True
            by_form.update(matcher.forms_in(text))
        else:
            aside[ASIDE[reason]] += 1
    return _Sorted(touched, _Places(among[alone[among]], among[~touched[among]]), dict(aside), by_form)


def _sample(
    sentences: Sentences, places: np.ndarray, matcher: Matcher, size: int, rng: np.random.Generator
) -> list[_Row]:
    chosen = places[rng.permutation(len(places))[:size]]
    return [
        _Row(text, reference, matcher.spans(text))
        for text, reference in zip(sentences.texts(chosen), sentences.references(chosen), strict=True)
    ]


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
