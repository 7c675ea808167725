"""Replacement of a text's topic words, which makes the control: the same sentence without the topic.

No tagger is needed. Where form and neighbours leave it open whether *love* is a noun or a verb, words that are both
(*help*), nouns and verbs compete: the one that fits tells. Of the words of a pool, the one is taken that fits best
between its neighbours and into what else the sentence says (`excise.data.topics.choice`), but none too often, so that
the control is no topic of its own.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from math import log1p
from typing import cast

import numpy as np

from excise.data.topics.choice import Gap, WordsInGaps
from excise.data.topics.corpus import Corpus, tokens
from excise.data.topics.inflections import Paradigm
from excise.data.topics.matching import Span
from excise.data.topics.parts_of_speech import form_between, main_readings, map_form, reading

Choice = tuple[Paradigm, Sequence[frozenset[str]]]
Pool = Callable[[Paradigm, frozenset[str]], Sequence[Paradigm]]

ARTICLES = "a", "an"
ARTICLE = re.compile(r"\b([Aa])(n?)(\s+)$")
# A word that was taken so and so often already has to fit so many nats better, times the logarithm of that.
SPREAD = 0.2
# A word that made more of the replacements than this has to wait, so that the control is no topic of its own; after so
# many replacements that shares mean something.
MOST_SHARE, SOON = 0.15, 20
VOWEL_SOUND = re.compile(
    r"(?!uni(?!n|m|de|ro|ss)|us[aeu]|eu|ewe|one\b|once|ut[eio]|ubi|ur[aeio]|uga|uku|ukr|unanim|ouija)[aeiou]"
    r"|hour|honest|honou?r|heir|8|1[18](?!\d)",
    re.IGNORECASE,
)
# An acronym, or a letter with something behind it (X-ray); those that are spelled out, though one could say them; and
# what two consonants a word may begin with.
ACRONYM = re.compile(r"(?P<letters>[A-Z]{2,6})s?(?![a-z])|(?P<letter>[A-Z])(?![A-Za-z])")
SPELLED_OUT = frozenset("FAQ HIV LED MIT NIH RIP SME SOS SUV".split())
CLUSTERS = frozenset("BL BR CH CL CR DR FL FR GL GR KN PH PL PR SC SH SK SL SM SN SP ST SW TH TR TW WH WR".split())
POSSESSIVE = re.compile(r"(['\u2019])(s\b)?(?(2)|(?=\s+\w))")


class Replacer:
    """Replaces the topic words of one text after another; in a text, each topic word by one word throughout.

    Args:
        topics: the topic words.
        pool: gives the words that may replace a topic word in some readings; asked once for each.
        corpus: tells what goes between which neighbours.
        seed: settles ties.
    """

    def __init__(self, topics: Sequence[Paradigm], pool: Pool, corpus: Corpus, seed: int) -> None:
        self._topics = topics
        self._pool = pool
        self._pools: dict[tuple[str, frozenset[str]], Sequence[Paradigm]] = {}
        self._main = {topic.lemma: main_readings(topic, corpus) for topic in topics}
        self._forms: dict[tuple[str, str, str, frozenset[str]], str | None] = {}
        self._rng = np.random.default_rng(seed)
        self._words = WordsInGaps(corpus)
        self._used: Counter[str] = Counter()

    def replace(self, text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
        """The text with each topic word replaced, case and inflection kept, a/an and 's put right; and where it was."""
        new: dict[Span, str] = {}
        for topic in self._topics:
            own = [(start, stop) for start, stop in spans if topic.form_of(text[start:stop]) is not None]
            new.update(self._replacements(topic, text, own) if own else {})
        pieces, places, last, end, length = [], [], 0, 0, 0
        for start, stop in spans:
            before = text[end:start]
            if end:
                before = _with_possessive(before, text[last:end], new[last, end])
            last = start
            before = _with_article(before, text[start:stop], new[start, stop])
            pieces += [before, new[start, stop]]
            length += len(before) + len(new[start, stop])
            places.append((length - len(new[start, stop]), length))
            end = stop
        rest = _with_possessive(text[end:], text[last:end], new[last, end]) if spans else text
        return "".join([*pieces, rest]), places

    def _replacements(self, topic: Paradigm, text: str, spans: Sequence[Span]) -> dict[Span, str]:
        forms = [cast(str, topic.form_of(text[start:stop])) for start, stop in spans]
        sides_of = [(tokens(text[:start]), tokens(text[stop:])) for start, stop in spans]
        gaps = [self._gaps(*sides) for sides in sides_of]
        main = self._main[topic.lemma]
        readings = [reading(topic, form, *sides, main) for form, sides in zip(forms, sides_of, strict=True)]
        present = {word.lower() for word in tokens(text)}

        def score(choice: Choice) -> tuple[int, bool, float]:
            other, own = choice
            new = [self._mapped(topic, form, other, open_) for form, open_ in zip(forms, own, strict=True)]
            unfit = sum(form is None or form.lower() in present for form in new)
            fit = sum(self._fit(form, gap) for form, gap in zip(new, gaps, strict=True) if form is not None)
            return -unfit, self._used[other.lemma] < most, fit - SPREAD * log1p(self._used[other.lemma])

        choices = [
            (other, own) for own in _decided(readings) for other in self._pool_for(topic, frozenset().union(*own))
        ]
        # Of few words each has its turn more often.
        share = max(MOST_SHARE, 2 / len({other.lemma for other, _ in choices}))
        most = share * (SOON + self._used.total())
        best, own = max((choices[index] for index in self._rng.permutation(len(choices))), key=score)
        self._used[best.lemma] += 1
        result = {}
        for (start, stop), form, decided, sides in zip(spans, forms, own, sides_of, strict=True):
            new = map_form(topic, form, best, decided) or form_between(topic, form, best, decided, *sides)
            if topic.is_name and topic.lemma.isupper():  # US, GPT-4: in capitals anyway
                result[start, stop] = new
            else:
                result[start, stop] = _with_case(new, text[start:stop], best.is_name and new[1:] == new[1:].lower())
        return result

    def _mapped(self, topic: Paradigm, form: str, other: Paradigm, readings: frozenset[str]) -> str | None:
        key = (topic.lemma, form, other.lemma, readings)
        if key not in self._forms:
            self._forms[key] = map_form(topic, form, other, readings)
        return self._forms[key]

    def _gaps(self, left: Sequence[str], right: Sequence[str]) -> tuple[Gap, Gap]:
        """A gap before which an article is *a*, and the same with *an*; one twice where no article is."""
        if not left or left[-1].lower() not in ARTICLES:
            gap = self._words.gap(left, right)
            return gap, gap
        before_consonant, before_vowel = (self._words.gap([*left[:-1], article], right) for article in ARTICLES)
        return before_consonant, before_vowel

    def _fit(self, form: str, gaps: tuple[Gap, Gap]) -> float:
        return self._words.fit(form, gaps[0] if gaps[0] is gaps[1] else gaps[vowel_sound(form)])

    def _pool_for(self, topic: Paradigm, readings: frozenset[str]) -> Sequence[Paradigm]:
        key = (topic.lemma, readings)
        if key not in self._pools:
            self._pools[key] = self._pool(topic, readings)
        return self._pools[key]


def _decided(readings: Sequence[frozenset[str]]) -> list[list[frozenset[str]]]:
    """The readings as they are, and where they are open also with each decision: the words that fit tell which."""
    parts = sorted(frozenset().union(*(own for own in readings if len(own) > 1)))
    return [list(readings), *([own & {part} or own for own in readings] for part in parts)]


def _with_case(new: str, old: str, is_name: bool) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() or is_name else new


def _with_article(before: str, old: str, new: str) -> str:
    """The text before a replacement, with *a* turned into *an* or back if old and new begin differently."""
    match = ARTICLE.search(before)
    if match is None or vowel_sound(old) == vowel_sound(new):
        return before
    return before[: match.start()] + match[1] + ("n" if vowel_sound(new) else "") + match[3]


def vowel_sound(word: str) -> bool:
    """Whether *an* goes before a word: by how it is said, which of an acronym is letter by letter or as a word.

    >>> [
    ...     word
    ...     for word in ("hour", "unit", "MBA", "NATO", "UFO", "X-ray", "8-year-old", "European")
    ...     if vowel_sound(word)
    ... ]
    ['hour', 'MBA', 'X-ray', '8-year-old']
    """
    acronym = ACRONYM.match(word)
    if acronym is None or (VOWEL_SOUND.match(word) and word[0] in "Hh18"):
        return VOWEL_SOUND.match(unicodedata.normalize("NFD", word)) is not None
    letters = acronym["letters"] or acronym["letter"]
    spelled = len(letters) == 1 or not set(letters) & set("AEIOU") or letters in SPELLED_OUT
    spelled = spelled or not (set(letters[:2]) & set("AEIOU") or letters[:2] in CLUSTERS)
    return letters[0] in ("AEFHILMNORSX" if spelled else "AEIO")


def _with_possessive(after: str, old: str, new: str) -> str:
    """The text behind a replacement, with *'s* or an apostrophe alone as it needs: *James' hat*, *Tom's hat*."""
    match = POSSESSIVE.match(after)
    if match is None or old[-1:].lower() == new[-1:].lower():
        return after
    if match[2] and new[-1:] == "s" and new == new.lower() and not new.endswith("ss"):
        return match[1] + after[match.end() :]  # the bosses' hats, where the children's were
    if not match[2] and old[-1:] == "s":
        return match[1] + "s" + after[match.end() :]
    return after
