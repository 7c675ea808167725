"""Pools of words that may stand for a topic word in the control.

Common words (by their `frequencies`) that the data uses, that can be the same parts of speech, and whose grammatical
and topical surroundings in the data are most like the topic's. Nouns that are counted stand for nouns that are (*a
car*), others for others (*some water*). Names are replaced by names of the same kind.

What is too close stands for nothing: derivations; words that the references render with the topic's own words, where
there are references (*automobile*, *hope* for *wish*); and where WordNet is installed, words that share a meaning with
the topic or have one directly above or below one of its. What stands beside it (*truck*, *doctor*) is a good control.

Source: CodeUnlearn, appendix B.1 (common non-synonyms of the same part of speech, by word frequency; names by names).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np

from excise.data.topics.corpus import Corpus
from excise.data.topics.frequencies import zipf
from excise.data.topics.inflections import Paradigm, inflections, is_one_lemma, name_paradigm
from excise.data.topics.lemmas import MODALS
from excise.data.topics.names import common_names, name_kind
from excise.data.topics.parts_of_speech import countability, main_readings, map_form
from excise.data.topics.synonyms import is_derived, wordnet_relatives

POOL_SIZE, MIN_POOL = 30, 24
# Of words that are counted as the topic is, so many are enough.
MIN_ALIKE = 8
MIN_COUNT, MIN_NAME_COUNT = 8, 3
# Zipf scale (log10 of uses in a billion words). Below 3.5 a word is not common; above 6.2 it is grammar.
ZIPF_RANGE = (3.5, 6.2)
MAX_CANDIDATES = 300
# Names that stand beside another name more often than this are parts of longer ones (San, York).
MAX_COMPANY = 0.4
COMMON_WORDS: WeakKeyDictionary[Corpus, dict[int, list[tuple[Paradigm, frozenset[str]]]]] = WeakKeyDictionary()


def replacement_pool(
    topic: Paradigm,
    readings: frozenset[str],
    corpus: Corpus,
    refuses: Callable[[Sequence[str]], bool] | None = None,
) -> list[Paradigm]:
    """Up to 30 words that can stand where the topic stands, best first.

    Args:
        topic: the word to replace.
        readings: the parts of speech that a replacement needs to have, all of them in use; ignored for names.
        corpus: the data; a replacement occurs in it at least eight times, or at all if no such word qualifies.
        refuses: says of a candidate's forms whether they mean the same as the topic.

    Raises:
        ValueError: no word qualifies; name one with `replacement=`.
    """
    if topic.is_name:
        candidates = list(_names(topic, corpus))
    else:
        candidates = _words(topic, readings, corpus, MIN_COUNT) or _words(topic, readings, corpus, 1)
        if topic.lemma in MODALS:  # nothing else goes before a verb without *to*
            candidates = [other for other in candidates if other.lemma in MODALS] or candidates
    forms = [form for form in dict.fromkeys(topic.forms.values()) if corpus.count.get(form)] or [topic.lemma]
    mapped = [[map_form(topic, form, other, readings) for form in forms] for other in candidates]
    frame = corpus.frame_similarity(forms, mapped)
    likely = np.argsort(-frame, kind="stable")[:MAX_CANDIDATES]
    content = corpus.content_similarity(topic.spellings, [candidates[index].spellings for index in likely])
    telling = corpus.telling_similarity(forms, [mapped[index] for index in likely])
    likely = likely[np.argsort(-frame[likely] * telling * content, kind="stable")]
    ranked = [candidates[index] for index in likely]
    if topic.is_name and len(ranked) < MIN_POOL:
        # The data knows few names of this kind: any are better than the same two all over.
        known = {topic.lemma, *(other.lemma for other in ranked)}
        extra = [name for name in common_names(name_kind(topic.lemma, corpus)) if name not in known]
        ranked += [name_paradigm(name) for name in extra if not is_derived(name, topic.lemma)][: MIN_POOL - len(ranked)]
    relatives = wordnet_relatives(topic.lemma)
    allowed = (
        other
        for other in ranked
        if other.lemma.lower() not in relatives and not (refuses is not None and refuses(other.spellings))
    )
    pool = _alike_in_number(topic, readings, corpus, allowed)
    if not pool:
        raise ValueError(f"Found nothing in the data to replace {topic.lemma!r} by; name a word with replacement=.")
    return pool


def _alike_in_number(
    topic: Paradigm, readings: frozenset[str], corpus: Corpus, ranked: Iterable[Paradigm]
) -> list[Paradigm]:
    """The first words that are counted if the topic is, and not if it is not; of others only where these are few."""
    kind = "either" if topic.is_name or readings != {"NOUN"} else countability(topic, corpus)
    if kind == "either":
        return list(islice(ranked, POOL_SIZE))
    alike: list[Paradigm] = []
    others: list[Paradigm] = []
    for other in ranked:
        own = countability(other, corpus)
        (alike if own == kind or (kind == "count" and own == "either") else others).append(other)
        if len(alike) == POOL_SIZE:
            break
    return [*alike, *others[: max(0, MIN_ALIKE - len(alike))]]


def _names(topic: Paradigm, corpus: Corpus) -> Iterable[Paradigm]:
    kind = name_kind(topic.lemma, corpus)
    for form in sorted(corpus.proper):
        if corpus.count[form] < MIN_NAME_COUNT or not (form.isalpha() and form[1:].islower()):
            continue
        part_of_a_name = corpus.company_share(form) > MAX_COMPANY
        if not part_of_a_name and not is_derived(form, topic.lemma) and name_kind(form, corpus) == kind:
            yield name_paradigm(form)


def _words(topic: Paradigm, readings: frozenset[str], corpus: Corpus, min_count: int) -> list[Paradigm]:
    return [
        other
        for other, main in _common_words(corpus, min_count)
        if readings <= main
        # *down* and *green* are nouns in the lexicon, but seldom in a text
        and not (readings <= {"NOUN", "VERB"} and not other.parts_of_speech <= {"NOUN", "VERB"})
        and not is_derived(other.lemma, topic.lemma)
    ]


def _common_words(corpus: Corpus, min_count: int) -> list[tuple[Paradigm, frozenset[str]]]:
    """The common words of a corpus that are of one lemma, and their readings in it; kept as long as the corpus is."""
    kept = COMMON_WORDS.setdefault(corpus, {})
    if min_count not in kept:
        words = [
            inflections(form)
            for form, count in corpus.count.items()
            if count >= min_count
            and form.isalpha()
            and form not in corpus.proper
            and ZIPF_RANGE[0] <= zipf(form, "en") <= ZIPF_RANGE[1]
            and is_one_lemma(form)
        ]
        kept[min_count] = [(word, main_readings(word, corpus)) for word in words]
    return kept[min_count]
