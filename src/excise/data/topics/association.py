"""Words that go with a topic on the reference side: *professeur* for *teacher*."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from excise.statistics import benjamini_hochberg, fisher

if TYPE_CHECKING:
    from excise.data.topics.sets import TopicSets

# Elision ends a word (j'aimerais gives j and aimerais), and so does any other sign.
WORD = re.compile(r"[^\W\d_]+")
# Words this many times rarer elsewhere than the floor asks are taken before all others.
SURE = 10


class AssociatedWord(NamedTuple):
    """A word that goes with the topic.

    Attributes:
        word: in lower case.
        share_with: share of the topic's texts that hold it.
        share_without: share of the other texts that hold it.
        covered: topic texts that it covers and no earlier word of the list does.
        pvalue: Fisher's exact test on the texts not yet covered when it was chosen.
        qvalue: the same after Benjamini-Hochberg over all words of that round.
    """

    word: str
    share_with: float
    share_without: float
    covered: int
    pvalue: float
    qvalue: float


def word_set(text: str) -> frozenset[str]:
    """The words of a text, in lower case, split at apostrophes: enough to ask whether a word is there.

    >>> sorted(word_set("J'aimerais, si seulement !"))
    ['aimerais', 'j', 'seulement', 'si']
    """
    return frozenset(WORD.findall(text.lower()))


def associated_words(
    texts_with: Sequence[str],
    texts_without: Sequence[str],
    *,
    q: float = 0.05,
    min_lift: float = 4.0,
    min_share: float = 0.01,
    max_words: int = 25,
) -> list[AssociatedWord]:
    """The words that tell texts of a topic from others, by a greedy cover with Fisher's exact test.

    In each round the word most associated with the topic texts *not yet covered* is taken, and the texts that hold it
    are covered. So a topic with several renderings gets them all (*aimerais*, *souhaite*, *voudrais* for *wish*), and a
    word that is only in the same sentences (*école* beside *professeur*) is not taken, since it explains nothing more.
    Words that are almost never elsewhere come first, so that a frequent companion (*Tom* beside *Mary*) finds its texts
    covered.

    Args:
        texts_with: texts of the topic (references of the rows with the topic word).
        texts_without: texts of other rows.
        q: largest false discovery rate, over all words of a round.
        min_lift: a word must be this many times as frequent in all topic texts, and in those left, as in the others.
        min_share: a word must cover this share of all topic texts anew, and at least three.
        max_words: the longest list.

    Returns:
        In the order of choice; empty if nothing passes.

    Raises:
        ValueError: one of the two sides is empty.
    """
    if not texts_with or not texts_without:
        raise ValueError(
            f"Associated words need texts on both sides; there are {len(texts_with)} with the topic "
            f"and {len(texts_without)} without."
        )
    left = [word_set(text) for text in texts_with]
    without = Counter(word for text in texts_without for word in word_set(text))
    within = Counter(word for words in left for word in words)
    least = max(3, math.ceil(min_share * len(texts_with)))
    chosen: list[AssociatedWord] = []
    for lift in (SURE * min_lift, min_lift):
        while left and len(chosen) < max_words:
            found = _most_associated(left, without, len(texts_without), lift, least)
            if found is None or found.qvalue > q:
                break
            share = within[found.word] / len(texts_with)
            left = [words for words in left if found.word not in words]
            if share >= min_lift * found.share_without:
                chosen.append(found._replace(share_with=share))
    return chosen


def _most_associated(
    left: Sequence[frozenset[str]], without: Counter[str], num_without: int, min_lift: float, least: int
) -> AssociatedWord | None:
    counts = Counter(word for words in left for word in words)
    words = [
        word
        for word, count in counts.items()
        if count >= least and len(word) > 1 and count / len(left) >= min_lift * without[word] / num_without
    ]
    if not words:
        return None
    with_counts = np.array([counts[word] for word in words])
    without_counts = np.array([without[word] for word in words])
    pvalues = fisher(with_counts, len(left), without_counts, num_without).pvalue
    # The words below the floors were looked at too: they enter the correction as p = 1, which can only raise q.
    qvalues = benjamini_hochberg(np.concatenate([pvalues, np.ones(len(counts) - len(words))]))
    best = min(range(len(words)), key=lambda index: (pvalues[index], -with_counts[index], words[index]))
    word = words[best]
    share_without = without[word] / num_without
    return AssociatedWord(word, 0.0, share_without, counts[word], float(pvalues[best]), float(qvalues[best]))


def topic_words(topic: "TopicSets") -> tuple[str, ...]:
    """The words of the references that go with the topic: what topic recall counts in the outputs.

    Found on the selecting sets (target against retain), so that the evaluation sets stay unseen.

    Args:
        topic: made with `reference=`.

    Raises:
        ValueError: the topic has no references.
    """
    if topic.reference is None:
        raise ValueError("This topic has no references; make it with topic_sets(..., reference=<column>).")
    found = associated_words(topic.target["reference"], topic.retain["reference"])
    return tuple(entry.word for entry in found)
