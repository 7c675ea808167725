"""Taking of the words of a topic: readings, exact forms, longer names around a name, and the parts of one."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from excise.data.topics.given import checked_words
from excise.data.topics.inflections import name_paradigm
from excise.data.topics.lemma_forms import taken_in
from excise.data.topics.names import is_first_name, place_names
from excise.data.topics.readings import Taken, exact_forms, taken_as
from excise.data.topics.sentences import Sentences
from excise.data.topics.spellings import letters

SUFFIX = re.compile(r"[JS]r\.?|Junior|Senior|[IVX]+|Ph\.?D\.?|M\.?D\.?|Esq\.?|[A-Z]?[BCK]BE|\d+\w*")
INITIAL = re.compile(r"(?:[^\W\d_]\.)+")


def taken_words(
    words: Mapping[str, str],
    every: Sequence[Sentences],
    language: str,
    reading: str | Mapping[str, str] | None,
    forms: Sequence[str] | Mapping[str, Sequence[str]] | None,
    parts: bool | Sequence[str],
    min_examples: int,
) -> tuple[Taken, ...]:
    """What each of the words of a topic is taken as.

    Args:
        words: without signs around them (`bare_word`), and what each was given as.
        every: the data, and that to evaluate on.
        language: of the texts.
        reading: as in `topic_sets`, and so are the others.
        forms: likewise.
        parts: likewise.
        min_examples: likewise.

    Raises:
        ValueError: a word whose reading is not clear, or a reading, form or part that does not fit the words.
    """
    bare = {given: word for word, given in words.items()}
    asked = reading if isinstance(reading, Mapping) else dict.fromkeys(words, reading)
    readings: dict[str, Any] = {bare.get(given, given): own for given, own in asked.items()}
    if forms is not None and not isinstance(forms, Mapping):
        if len(words) > 1:
            raise ValueError(
                f"forms= of {len(words)} words must be a dictionary: the forms of each word that has some."
            )
        forms = dict.fromkeys(words, checked_words(forms, "forms"))
    exact: dict[str, Any] = {bare.get(given, given): own for given, own in (forms or {}).items()}
    for name, given in {"reading": readings, "forms": exact}.items():
        if strange := [word for word in given if word not in words]:
            raise ValueError(f"{name}= is for {strange[0]!r}, which is none of the words: {', '.join(words)}.")
    taken = [
        exact_forms(word, checked_words(exact[word], "forms"))
        if word in exact
        else with_longer_names(taken_as(word, every[0], readings.get(word), min_examples), every[0])
        if language == "en"
        else taken_in(language, word, every, readings.get(word))
        for word in words
    ]
    taken = [replace(one, given=given) for one, given in zip(taken, words.values(), strict=True)]
    return with_parts(taken, parts, every[0])


def with_longer_names(taken: Taken, sentences: Sentences) -> Taken:
    """A name of one word that knows the places whose names end with it: a text that has it only there is set aside.

    A name that another one begins with (New York City, for New York) is the topic all the same; so is one behind a
    first name or a title (Tom York).

    Args:
        taken: a word of the topic.
        sentences: the data.
    """
    name = taken.paradigm.lemma
    if not taken.paradigm.is_name or not name.isalpha():
        return taken
    before = re.compile(rf"([^\W\d_a-z]\w+(?:[ -][^\W\d_a-z]\w+)?)[ -]{re.escape(name)}(?!\w)")
    longer: Counter[str] = Counter()
    for text in sentences.texts(sentences.candidates(letters(name))):
        for hit in before.finditer(text):
            for words in (hit[1], hit[1].split()[-1]):
                place = f"{words} {name}"
                if place in place_names() and not is_first_name(words):
                    longer[place] += 1
                    break
    if not longer:
        return taken
    forms = tuple(replace(form, longer=tuple(longer)) if form.spelling == name else form for form in taken.forms)
    told = "not in " + ", ".join(f"{place} {n}" for place, n in longer.most_common())
    otherwise = "; ".join(filter(None, [taken.otherwise, told]))
    return replace(taken, forms=forms, otherwise=otherwise, unclear=True)


def with_parts(taken: Sequence[Taken], parts: bool | Sequence[str], sentences: Sentences) -> tuple[Taken, ...]:
    """Names that are found by a part of them as well.

    Args:
        taken: the words of the topic.
        parts: whether by the last word of each, or the parts, of one word or several.
        sentences: the data.

    Raises:
        ValueError: no name has several words, or one has no such part.
    """
    if not parts:
        return tuple(taken)
    names = [one for one in taken if one.paradigm.is_name and " " in one.paradigm.lemma]
    if not names:
        given = ", ".join(repr(one.given) for one in taken)
        raise ValueError(f"parts= is for names of several words, and {given} is none; leave it out.")
    asked = [] if parts is True else [parts] if isinstance(parts, str) else list(parts)
    known = {part for one in names for part in _runs(one.paradigm.lemma)}
    if strange := [part for part in asked if part not in known]:
        single = ", ".join(sorted(part for part in known if " " not in part))
        raise ValueError(f"{strange[0]!r} is no part of the names; these have {single}.")
    seen: set[str] = {form.spelling for one in taken for form in one.forms}
    return tuple(_with_part(one, asked, sentences, seen) for one in taken)


def _with_part(taken: Taken, asked: Sequence[str], sentences: Sentences, seen: set[str]) -> Taken:
    name = taken.paradigm.lemma
    if not taken.paradigm.is_name or " " not in name:
        return taken
    chosen = [part for part in asked if part in _runs(name)] if asked else _last(name)
    if not chosen:
        return taken
    others = [form.spelling for form in taken.forms if form.spelling != name]
    forms, told, unclear = list(taken.forms), [taken.otherwise], taken.unclear
    for part in chosen:
        alone = taken_as(part, sentences, "name", 1)
        # A king is called by his first name, which others have too.
        shared = not asked and is_first_name(part)
        forms += [] if part in seen else alone.forms
        seen.add(part)
        told += [f"{part} stands for it alone" + (", which is a first name" if shared else ""), alone.otherwise]
        unclear = unclear or alone.unclear or shared
    paradigm = name_paradigm(name, *others, *chosen[1:], part=chosen[0])
    otherwise = "; ".join(filter(None, told))
    return replace(taken, paradigm=paradigm, forms=tuple(forms), otherwise=otherwise, unclear=unclear)


def _last(name: str) -> list[str]:
    """The last word of a name, but for what only ends it (Jr., II, PhD) and initials."""
    words = name.replace(",", " ").split()
    while len(words) > 1 and SUFFIX.fullmatch(words[-1]):
        words.pop()
    return [] if INITIAL.fullmatch(words[-1]) else words[-1:]


def _runs(name: str) -> set[str]:
    """All parts of a name: its words, and words beside one another (da Vinci, of Leonardo da Vinci)."""
    words = name.replace(",", " ").split()
    return {" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)} - {name}
