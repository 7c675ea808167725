"""Replacement of topic words form by form, in languages of which no paradigms are known: the control of these.

Each form of the topic is replaced by a word of the data that stands between the same words (*la voiture*: *la maison*),
which carries over gender, number and person without a table of either, and that begins alike where that decides the
word before (*l'eau*: *l'argent*). Names are replaced by names.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np

from excise.data.topics.company import Company
from excise.data.topics.corpus import Corpus, tokens
from excise.data.topics.frequencies import stop_words, zipf
from excise.data.topics.inflections import Paradigm
from excise.data.topics.languages import ELISIONS, Lemmas, first_names, is_name
from excise.data.topics.matching import Matcher, Span
from excise.data.topics.sentences import MAX_CORPUS, Sentences
from excise.data.topics.stand_ins import has_stand_ins, stand_ins
from excise.data.topics.synonyms import SharedTranslation, is_derived

POOL_SIZE, MIN_POOL = 24, 12
# Often enough for its neighbours to tell what it is; less often if there is nothing else.
LEAST_COUNTS = (8, 3, 1)
MOST_CANDIDATES = 300
# Zipf scale, as in `pools`.
MAX_ZIPF = 6.2
# So much more alike are two words of one ending (a letter each, at most three), which tells person and tense of verbs.
ENDING = 1.3
# Forms that the topic's word has in the data at least, and that another needs then: those of adjectives and of verbs.
FORMS = {6: 4, 3: 2, 0: 1}
APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=\w)")
VOWEL = re.compile("[aeiouyh\u0153\u00e6]")
# French words that change before a vowel: as they are there, and elsewhere.
BEFORE_VOWEL = {
    "d'": "de ",
    "n'": "ne ",
    "s'": "se ",
    "m'": "me ",
    "t'": "te ",
    "c'": "ce ",
    "j'": "je ",
    "qu'": "que ",
}
LAST_WORD = re.compile(r"(?<!\w)(\w+(?:['\u2019]|\s))$")
CORPORA: WeakKeyDictionary[Sentences, dict[str, Corpus]] = WeakKeyDictionary()


def corpus_in(language: str, sentences: Sentences) -> Corpus:
    """The words of a data set and their company, with elided words apart (*l eau*); kept as long as the sentences."""
    if language not in ELISIONS:
        return sentences.corpus
    kept = CORPORA.setdefault(sentences, {})
    if language not in kept:
        kept[language] = Corpus([spread(text) for text in sentences.texts(slice(MAX_CORPUS))])
    return kept[language]


def spread(text: str) -> str:
    """A text with a space in place of each apostrophe inside a word.

    >>> spread("Il n'a plus d'eau.")
    'Il n a plus d eau.'
    """
    return APOSTROPHE.sub(" ", text)


class FormReplacer:
    """Replaces the topic words of one text after another; in a text, each form by one word throughout.

    Args:
        topics: the topic words.
        sentences: the data, whose words replace.
        touched: which of its texts hold the topic, bool (num_texts,).
        matcher: finds the topic's words: none of them replaces another.
        given: the words to replace by, if they are given.
        language: of the texts.
        seed: settles ties.

    Raises:
        ValueError: a given word is the topic itself.
    """

    def __init__(
        self,
        topics: Sequence[Paradigm],
        sentences: Sentences,
        touched: np.ndarray,
        matcher: Matcher,
        given: Sequence[str] | None,
        language: str,
        seed: int,
    ) -> None:
        self._topics, self._matcher, self._language = topics, matcher, language
        self._lemmas, self._corpus = Lemmas(language), corpus_in(language, sentences)
        self._sentences = sentences
        self._shared = SharedTranslation(self._corpus, sentences.reference_words, touched)
        self._given = None if given is None else [self._forms_of(word) for word in given]
        # How many forms each lemma has in the data: a word that is never inflected (*ici*) stands for no adjective.
        self._num_forms = Counter(self._lemmas.lemmas(word)[0] for word in self._corpus.count if word.isalpha())
        self._grammar = {lemma for word in stop_words(language) for lemma in self._lemmas.lemmas(word)}
        self._rng = np.random.default_rng(seed)
        self._pools: dict[str, list[str]] = {}
        self._companies: dict[str, Company] = {}
        self._used: Counter[str] = Counter()

    def replace(self, text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
        """The text with each topic word replaced, case kept; and where it was done."""
        present = {word.lower() for word in tokens(spread(text))}
        chosen: dict[str, str] = {}
        pieces, places, end, length = [], [], 0, 0
        for start, stop in spans:
            old = text[start:stop]
            if old.lower() not in chosen:
                chosen[old.lower()] = self._best(text, start, stop, present)
            new = _with_case(chosen[old.lower()], old)
            before = self._before(text[end:start], old, new)
            pieces += [before, new]
            length += len(before) + len(new)
            places.append((length - len(new), length))
            end = stop
        return "".join([*pieces, text[end:]]), places

    def _best(self, text: str, start: int, stop: int, present: set[str]) -> str:
        gap = self._corpus.gap(tokens(spread(text[:start] + "x"))[:-1], tokens(spread("x" + text[stop:]))[1:])
        pool = self._pool(text[start:stop])

        def score(word: str) -> tuple[int, int, int]:
            if word not in self._companies:
                self._companies[word] = self._corpus.company(word)
            return -(word.lower() in present), self._companies[word].fit(gap), -self._used[word]

        best = max((pool[index] for index in self._rng.permutation(len(pool))), key=score)
        self._used[best] += 1
        return best

    def _pool(self, old: str) -> list[str]:
        topic, form = self._topic_of(old)
        if form not in self._pools:
            if self._given is not None:
                words = self._of_given(form)
            elif topic.is_name and has_stand_ins(topic):
                others = stand_ins(topic, self._sentences.texts(slice(MAX_CORPUS)), self._any_refused)
                words = [other.lemma for other in others]
            else:
                words = self._found(topic, form) if form.isalpha() else []
            if not words:
                raise ValueError(
                    f"Found nothing in the data to replace {form!r} by, a form of {topic.lemma!r}; name a word with "
                    "replacement=."
                )
            self._pools[form] = words
        return self._pools[form]

    def _topic_of(self, old: str) -> tuple[Paradigm, str]:
        old = unicodedata.normalize("NFC", old)
        forms = [(topic, form) for topic in self._topics for form in topic.spellings]
        return next(
            ((topic, form) for topic, form in forms if form == old),
            next(((topic, form) for topic, form in forms if form.lower() == old.lower()), (self._topics[0], old)),
        )

    def _cased(self, form: str) -> str:
        """A form as the corpus has it, with a capital or not."""
        other = form[:1].swapcase() + form[1:]
        return other if self._corpus.count.get(other, 0) > self._corpus.count.get(form, 0) else form

    def _forms_of(self, word: str) -> list[str]:
        if self._matcher.touches(word):
            raise ValueError(
                f"Replacement {word!r} is the topic itself: target and control would be equal; give another."
            )
        word = self._cased(word)
        lemma = self._lemmas.lemmas(word)[0]
        own = [form for form in self._corpus.count if form[0].isalpha() and lemma in self._lemmas.lemmas(form)]
        return [word, *(form for form in own if form != word and not self._matcher.touches(form))]

    def _of_given(self, form: str) -> list[str]:
        """Of each given word the form that stands most as the topic's does."""
        words = []
        for forms in self._given or ():
            likeness = self._likeness(self._cased(form), forms)
            words.append(forms[int(np.argmax(likeness))])
        return words

    def _likeness(self, form: str, words: Sequence[str]) -> np.ndarray:
        frame = self._corpus.frame_similarity([form], [[word] for word in words])
        return frame * [ENDING ** _common_end(form, word) for word in words]

    def _found(self, topic: Paradigm, form: str) -> list[str]:
        cased = form if topic.is_name else self._cased(form)
        for least in LEAST_COUNTS:
            words = list(self._candidates(topic, cased, least))
            if not words:
                continue
            likeness = self._likeness(cased, words)
            likely = np.argsort(-likeness, kind="stable")[:MOST_CANDIDATES]
            content = self._corpus.content_similarity(topic.spellings, [[words[index]] for index in likely])
            ranked = [words[index] for index in likely[np.argsort(-(likeness[likely] ** 2) * content, kind="stable")]]
            genitive = form[len(topic.lemma) :] if topic.is_name else ""
            fitting = (word + genitive for word in ranked if not self._refused(topic, word))
            if pool := list(islice(fitting, POOL_SIZE)):
                break
        else:
            pool = []
        return pool + self._more_names(topic, pool) if topic.is_name else pool

    def _more_names(self, topic: Paradigm, pool: Sequence[str]) -> list[str]:
        """Where the data has few names of persons, common ones: better than the same two all over."""
        kind = self._kind(topic.lemma)
        names = [name for name, own in first_names(self._language).items() if own == kind and name not in pool]
        names = [name for name in names if name.isalpha() and not self._refused(topic, name)]
        names.sort(key=lambda name: (-zipf(name, self._language), name))
        return names[: max(0, MIN_POOL - len(pool))]

    def _any_refused(self, forms: Sequence[str]) -> bool:
        return any(self._matcher.touches(form) for form in forms)

    def _refused(self, topic: Paradigm, word: str) -> bool:
        derived = any(is_derived(lemma, topic.lemma) for lemma in {word, *self._lemmas.lemmas(word)})
        return derived or self._matcher.touches(word) or self._shared.refuses([word])

    def _candidates(self, topic: Paradigm, form: str, least: int) -> Iterator[str]:
        stops, kind = stop_words(self._language), self._kind(topic.lemma) if topic.is_name else ""
        own = self._lemmas.lemmas(form)[0]
        forms = next(needed for own_forms, needed in FORMS.items() if self._num_forms[own] >= own_forms)
        for word, count in self._corpus.count.items():
            if count < least or len(word) < 2 or not word.isalpha() or word[0].isupper() != form[0].isupper():
                continue
            if topic.is_name:
                alone = self._corpus.company_share(word) <= 0.4
                if word in self._corpus.proper and word[1:].islower() and alone and self._kind(word) == kind:
                    yield word
            elif (
                word.lower() not in stops
                and self._begins_alike(word, form)
                and (self._lemmas.known(word) or not self._lemmas.known(form))
                and word not in first_names(self._language)
                and (lemma := self._lemmas.lemmas(word)[0]) != own
                and lemma not in self._grammar
                and self._num_forms[lemma] >= forms
                and zipf(word, self._language) <= MAX_ZIPF
            ):
                yield word

    def _kind(self, name: str) -> str:
        kind = first_names(self._language).get(name)
        # A German noun has a capital, too.
        return kind or ("place" if is_name(name, self._language) else "word" if self._lemmas.known(name) else "other")

    def _begins_alike(self, word: str, form: str) -> bool:
        return self._language not in ELISIONS or _vowel(word) == _vowel(form)

    def _before(self, before: str, old: str, new: str) -> str:
        """The text before a given word, with an elision made or undone where it begins otherwise than the topic."""
        match = LAST_WORD.search(before)
        if self._language != "fr" or match is None or _vowel(old) == _vowel(new):
            return before
        last = match[1].replace("\u2019", "'").lower()
        last = last if last.endswith("'") else last.strip() + " "
        if _vowel(old):
            masculine = self._corpus.neighbour_share(new, ["le", "un"]) >= self._corpus.neighbour_share(
                new, ["la", "une"]
            )
            changed = {**BEFORE_VOWEL, "l'": "le " if masculine else "la ", "cet ": "ce "}.get(last)
        else:
            changed = {**{full: short for short, full in BEFORE_VOWEL.items()}, "le ": "l'", "la ": "l'"}.get(last)
        if changed is None:
            return before
        return before[: match.start()] + (changed.capitalize() if match[1][0].isupper() else changed)


def _vowel(word: str) -> bool:
    return VOWEL.match(unicodedata.normalize("NFD", word.lower())) is not None


def _common_end(one: str, other: str) -> int:
    return next((n for n in range(3) if one[-n - 1 :][:1] != other[-n - 1 :][:1]), 3)


def _with_case(new: str, old: str) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new
