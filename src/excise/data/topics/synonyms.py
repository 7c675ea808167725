"""Synonyms and derivations of a topic word, which are too close to stand in for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from excise.data.topics.association import WordTable, table_words
from excise.data.topics.corpus import Corpus

# A candidate's rows may hold the topic's reference words by chance (a *driver* is often in a *voiture*).
MAX_SHARE, MIN_ROWS, MIN_LIFT = 0.12, 3, 3.0


def is_derived(candidate: str, topic: str) -> bool:
    """Whether two words look like one family (*lover*, *lovely*, *teach*): generous, for a refusal costs nothing.

    >>> is_derived("teach", "teacher"), is_derived("doctor", "teacher")
    (True, False)
    """
    short, long = sorted((candidate.lower(), topic.lower()), key=len)
    common = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return (len(short) >= 3 and short in long) or common >= max(3, len(short) - 1)


def wordnet_synonyms(word: str) -> frozenset[str]:
    """The words that share a meaning with this one in WordNet; none if NLTK's corpus is not installed here."""
    return frozenset(name.lower() for meaning in _meanings(word) for name in meaning.lemma_names())


def wordnet_relatives(word: str) -> frozenset[str]:
    """The words that share a meaning with this one in WordNet, or have one just above, below or very near one of its.

    Of *car*, *automobile* and *motor vehicle*, and *taxi*; not what stands beside it under one roof, as *truck* does.
    None if NLTK's corpus is not installed here.
    """
    near = [
        other
        for meaning in _meanings(word)
        for other in (meaning, *meaning.hypernyms(), *meaning.hyponyms(), *meaning.similar_tos(), *meaning.also_sees())
    ]
    return frozenset(name.lower() for meaning in near for name in meaning.lemma_names())


def _meanings(word: str) -> Sequence[Any]:
    from nltk.corpus import wordnet

    try:
        return wordnet.synsets(word)
    except LookupError:
        return ()


class SharedTranslation:
    """Refuses candidates that the reference side renders with the topic's own words (*automobile*, *car*: voiture).

    Args:
        corpus: the source texts.
        references: the words of their references, in the same order; without any, nothing is refused.
        topic: for each text whether it holds the topic, bool (num_texts,).
    """

    def __init__(self, corpus: Corpus, references: WordTable, topic: np.ndarray) -> None:
        self._corpus = corpus
        self._outside = ~topic
        inside, outside = topic & references.filled, ~topic & references.filled
        words = table_words(references, inside, outside) if inside.any() and outside.any() else []
        self._hits = references.texts(entry.word for entry in words)
        self._base = self._hits[self._outside].mean() if self._outside.any() else 0.0

    def refuses(self, forms: Sequence[str]) -> bool:
        """Whether the texts with any of these forms, and without the topic, have its reference words unduly often."""
        rows = self._corpus.texts(forms)
        hits = self._hits[rows[self._outside[rows]]]
        return bool(hits.sum() >= MIN_ROWS and hits.mean() >= max(MAX_SHARE, MIN_LIFT * self._base))
