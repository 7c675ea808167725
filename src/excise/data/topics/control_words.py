"""Control words of a topic: where those come from that stand in its place."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from excise.data.topics.form_replacement import FormReplacer
from excise.data.topics.given import bare_word, checked_words
from excise.data.topics.inflections import Paradigm
from excise.data.topics.matching import Matcher
from excise.data.topics.pools import replacement_pool
from excise.data.topics.replacement import Replacer
from excise.data.topics.sentences import MAX_CORPUS, Sentences
from excise.data.topics.stand_ins import given_stand_in, has_stand_ins, stand_ins
from excise.data.topics.synonyms import SharedTranslation


def topic_replacer(
    topics: Sequence[Paradigm],
    sentences: Sentences,
    touched: np.ndarray,
    matcher: Matcher,
    replacement: str | Sequence[str] | None,
    language: str,
    seed: int,
) -> Replacer | FormReplacer:
    """What makes the control of a topic: by words that the user names, or by others of the topic's kind.

    Args:
        topics: the words of the topic.
        sentences: what is learnt from.
        touched: which of them hold the topic in any way, bool (num_texts,).
        matcher: finds the topic, which stands for nothing.
        replacement: as in `topic_sets`, and so are the others.
        language: likewise.
        seed: likewise.

    Raises:
        ValueError: a replacement is the topic itself, or no word.
    """
    given = () if replacement is None else checked_words(replacement, "replacement")
    words = [bare_word(word, sentences) for word in given] or None
    if language != "en":
        return FormReplacer(topics, sentences, touched[:MAX_CORPUS], matcher, words, language, seed)
    corpus = sentences.corpus
    if words is not None:
        given_words = _given_pool(words, topics, matcher)
        return Replacer(topics, lambda topic, readings: given_words, corpus, seed)
    shared = SharedTranslation(corpus, sentences.reference_words, touched[:MAX_CORPUS])

    def refuses(forms: Sequence[str]) -> bool:
        return any(matcher.touches(form) for form in forms) or shared.refuses(forms)

    def pool(topic: Paradigm, readings: frozenset[str]) -> Sequence[Paradigm]:
        texts = partial(sentences.texts, slice(MAX_CORPUS))
        if has_stand_ins(topic):
            return stand_ins(topic, texts(), refuses, corpus)
        try:
            return replacement_pool(topic, readings, corpus, refuses)
        except ValueError:
            if not topic.is_name:
                raise
            return stand_ins(topic, texts(), refuses, corpus)  # the data has no other name of the kind

    return Replacer(topics, pool, corpus, seed)


def _given_pool(words: Sequence[str], topics: Sequence[Paradigm], matcher: Matcher) -> list[Paradigm]:
    names = any(topic.is_name for topic in topics)
    pool = []
    for word in words:
        other = given_stand_in(word, names)
        if any(matcher.touches(form) for form in other.spellings):
            raise ValueError(
                f"Replacement {word!r} is the topic itself: target and control would be equal; give another."
            )
        pool.append(other)
    return pool
