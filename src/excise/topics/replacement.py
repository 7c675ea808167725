"""What stands for a topic word in the control: a common word of the same part of speech that means something else.

No tagger is needed. *love* is a noun and a verb, so it is replaced by words that are both (*help*, *fear*), and the
form *loves* by a form that is both plural and third person, whichever it was. Among the words that qualify, those are
taken whose surroundings in the data are most like the topic's, and for each sentence those that were seen between the
same neighbours; the least used of them goes in, so that the control is no topic of its own.

Source: CodeUnlearn, appendix B.1 (common non-synonyms of the same part of speech, by word frequency; names by names).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from .frames import Corpus, tokens
from .inflections import PART_OF_SPEECH, Paradigm, inflections, is_one_lemma, name_paradigm
from .matching import Span
from .names import name_kind
from .synonyms import is_derived, wordnet_synonyms

_POOL_SIZE = 24
_MIN_COUNT, _MIN_NAME_COUNT = 8, 3
# Zipf scale (log10 of uses in a billion words). Below 3.5 a word is not common; above 6.3 it is grammar.
_ZIPF_RANGE = (3.5, 6.3)
_MAX_CANDIDATES = 300
# Words beside which a form is surely a noun, or surely a verb.
_NOUN_CUES = ("a", "an", "the", "my", "your", "his", "her", "our", "their", "this", "some", "any", "no", "of")
_VERB_CUES = ("to", "I", "you", "we", "they", "he", "she", "'t", "'d", "'ll", "will", "would", "can", "could", "don")
_MINOR_SHARE = 0.05
_ARTICLE = re.compile(r"\b([Aa])(n?)(\s+)$")
_VOWEL_SOUND = re.compile(r"(?!uni(?!n|m)|us[eu]|eu|one\b|once|ut[ei]l)[aeiou]|hour|honest|honou?r|heir", re.IGNORECASE)


def replacement_pool(
    topic: Paradigm, corpus: Corpus, refuses: Callable[[Sequence[str]], bool] | None = None
) -> list[Paradigm]:
    """Up to 24 words that can stand where the topic stands, best first.

    Args:
        topic: the word to replace.
        corpus: the data; a replacement occurs in it at least eight times.
        refuses: says of a candidate's forms whether they mean the same as the topic.

    Raises:
        ValueError: no word qualifies; name one with `replacement=`.
    """
    candidates = list(_names(topic, corpus) if topic.is_name else _words(topic, corpus))
    forms = [form for form in topic.forms.values() if corpus.count.get(form)]
    forms = list(dict.fromkeys(forms)) or [topic.lemma]
    tags = {form: _needed_tags(topic, form, corpus) for form in forms}
    mapped = [[map_form(topic, form, other, tags[form]) for form in forms] for other in candidates]
    similarity = corpus.similarity(forms, mapped)
    order = np.argsort(-similarity, kind="stable")[:_MAX_CANDIDATES]
    synonyms = wordnet_synonyms(topic.lemma)
    pool: list[Paradigm] = []
    for index in order:
        other = candidates[index]
        if other.lemma.lower() in synonyms or (refuses is not None and refuses(other.spellings)):
            continue
        pool.append(other)
        if len(pool) == _POOL_SIZE:
            break
    if not pool:
        raise ValueError(f"found nothing in the data to replace {topic.lemma!r} by; name a word with replacement=")
    return pool


def _names(topic: Paradigm, corpus: Corpus) -> Iterable[Paradigm]:
    kind = name_kind(topic.lemma, corpus)
    for form in sorted(corpus.proper):
        if corpus.count[form] < _MIN_NAME_COUNT or not (form.isalpha() and form[1:].islower()):
            continue
        if not is_derived(form, topic.lemma) and name_kind(form, corpus) == kind:
            yield name_paradigm(form)


def _words(topic: Paradigm, corpus: Corpus) -> Iterable[Paradigm]:
    from wordfreq import zipf_frequency

    wanted = _main_parts_of_speech(topic, corpus)
    for form, count in corpus.count.items():
        if count < _MIN_COUNT or form in corpus.proper or not form.isalpha() or is_derived(form, topic.lemma):
            continue
        if not _ZIPF_RANGE[0] <= zipf_frequency(form, "en") <= _ZIPF_RANGE[1] or not is_one_lemma(form):
            continue
        other = inflections(form)
        if wanted <= _main_parts_of_speech(other, corpus):
            yield other


def _main_parts_of_speech(word: Paradigm, corpus: Corpus) -> frozenset[str]:
    """NOUN and VERB where the word's surroundings show both in use (*love*); where one is rare (to *water*), the other.

    Words that are neither keep what they are.
    """
    nouns_and_verbs = word.parts_of_speech & {"NOUN", "VERB"}
    if len(nouns_and_verbs) < 2:
        return nouns_and_verbs or word.parts_of_speech
    nouns, verbs = (corpus.neighbour_share(word.lemma, cues) for cues in (_NOUN_CUES, _VERB_CUES))
    if nouns + verbs == 0 or min(nouns, verbs) >= _MINOR_SHARE * (nouns + verbs):
        return nouns_and_verbs
    return frozenset({"NOUN" if nouns > verbs else "VERB"})


def _needed_tags(topic: Paradigm, form: str, corpus: Corpus) -> tuple[str, ...]:
    main = _main_parts_of_speech(topic, corpus)
    tags = topic.tags(form) or topic.tags(topic.lemma)
    return tuple(tag for tag in tags if PART_OF_SPEECH.get(tag) in main) or tags


def map_form(topic: Paradigm, form: str, other: Paradigm, tags: Sequence[str] | None = None) -> str | None:
    """The form of another word that corresponds to a form of the topic, or None if there is no one such form.

    >>> love, help = inflections("love"), inflections("help")
    >>> map_form(love, "loved", help), map_form(love, "loves", help)
    ('helped', 'helps')
    """
    if other.is_name or topic.is_name:
        return other.lemma
    choices = {other.forms.get(tag) for tag in (tags or topic.tags(form) or topic.tags(topic.lemma))}
    return choices.pop() if len(choices) == 1 else None


class Replacer:
    """Replaces the topic words of one text after another, each text's by one word of the pool.

    Args:
        pools: for each topic word, the words that may replace it.
        corpus: tells what goes between which neighbours.
        seed: settles ties.
    """

    def __init__(self, pools: Sequence[tuple[Paradigm, Sequence[Paradigm]]], corpus: Corpus, seed: int) -> None:
        self._pools = pools
        self._corpus = corpus
        self._rng = np.random.default_rng(seed)
        self._used: Counter[str] = Counter()
        self._tags = {
            (topic.lemma, form): _needed_tags(topic, form, corpus) for topic, _ in pools for form in topic.spellings
        }

    def replace(self, text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
        """The text with each topic word replaced, case and inflection kept, a/an put right; and where it was done."""
        present = {word.lower() for word in tokens(text)}
        chosen = [self._choose(topic, pool, text, spans, present) for topic, pool in self._pools]
        pieces, places, end, length = [], [], 0, 0
        for start, stop in spans:
            old = text[start:stop]
            topic, other = next(pair for pair in chosen if _own_form(pair[0], old) is not None)
            new = _with_case(self._map(topic, old, other) or other.lemma, old, other.is_name)
            before = _with_article(text[end:start], old, new)
            pieces += [before, new]
            length += len(before) + len(new)
            places.append((length - len(new), length))
            end = stop
        return "".join([*pieces, text[end:]]), places

    def _choose(
        self, topic: Paradigm, pool: Sequence[Paradigm], text: str, spans: Sequence[Span], present: set[str]
    ) -> tuple[Paradigm, Paradigm]:
        own = [(start, stop) for start, stop in spans if _own_form(topic, text[start:stop]) is not None]
        if not own:
            return topic, topic
        order = self._rng.permutation(len(pool))
        best = max(order, key=lambda index: self._score(topic, pool[index], text, own, present))
        self._used[pool[best].lemma] += 1
        return topic, pool[best]

    def _score(
        self, topic: Paradigm, other: Paradigm, text: str, spans: Sequence[Span], present: set[str]
    ) -> tuple[int, int, int]:
        forms = [self._map(topic, text[start:stop], other) for start, stop in spans]
        missing = sum(form is None or form.lower() in present for form in forms)
        fit = 0
        for (start, stop), form in zip(spans, forms, strict=True):
            fit += self._corpus.fit(tokens(text[:start]), form, tokens(text[stop:])) if form else 0
        return -missing, fit, -self._used[other.lemma]

    def _map(self, topic: Paradigm, old: str, other: Paradigm) -> str | None:
        form = _own_form(topic, old)
        return map_form(topic, form, other, self._tags[topic.lemma, form])


def _own_form(topic: Paradigm, old: str) -> str | None:
    old = unicodedata.normalize("NFC", old).lower()
    if topic.is_name:
        return topic.lemma if old == topic.lemma.lower() else None
    return old if old in topic.spellings else None


def _with_case(new: str, old: str, is_name: bool) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() or is_name else new


def _with_article(before: str, old: str, new: str) -> str:
    """The text before a replacement, with *a* turned into *an* or back if old and new begin differently."""
    match = _ARTICLE.search(before)
    if match is None or bool(_VOWEL_SOUND.match(old)) == bool(_VOWEL_SOUND.match(new)):
        return before
    return before[: match.start()] + match[1] + ("n" if _VOWEL_SOUND.match(new) else "") + match[3]
