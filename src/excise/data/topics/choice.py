"""Choice of a word for a gap in a sentence: trigrams on both sides of it, and which words go together in a text.

An n-gram that was not seen backs off to the shorter one, as under a Dirichlet prior: so many occurrences as `PRIOR`
says are put in of what the shorter one expects. Words further off than two say what the sentence is about (*gas*: a *car*
or a *bus*, no *dictionary*).

Source: MacKay and Peto (1995), A hierarchical Dirichlet language model.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

from excise.data.topics.corpus import Company, Corpus

# All three are those by which the true word among its like came out best, in texts that nothing was counted in.
PRIOR = 15.0
# So many texts with a word are needed for half of what they say about its company; and what that weighs.
ABOUT_PRIOR, ABOUT = 30.0, 0.4


class Gap(NamedTuple):
    """A place in a sentence, without the word that stands there.

    Attributes:
        left: the tokens before it, as they stand in the text.
        right: those after it.
    """

    left: Sequence[str]
    right: Sequence[str]


class WordsInGaps:
    """How well words go into gaps, in natural logarithms.

    Args:
        corpus: to learn from. A text that is replaced may be among its texts: it has the topic's word where another's
            fit is asked.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._companies: dict[str, Company] = {}
        self._pairs: dict[tuple[int, int], int] = {}
        self._about: dict[str, np.ndarray] = {}

    def fit(self, form: str, gap: Gap) -> float:
        """How likely a form and the two words after it are, given the two before it and what else the sentence says.

        Only differences between forms in one gap have a meaning.
        """
        return self.likelihood(form, gap) + ABOUT * self.about(form, gap)

    def likelihood(self, form: str, gap: Gap) -> float:
        """The logarithm of P(form | two before) P(next | one before, form) P(next but one | form, next)."""
        corpus, own = self._corpus, self._company(form)
        *before, after, beyond = corpus.near(gap.left, gap.right)
        with_left, with_right, with_lefts, with_both, with_rights = own.counts(corpus.gap(gap.left, gap.right))
        smooth = _smoothed(with_left, corpus.count_of(before[1]), corpus.share(own.uses))
        first = _smoothed(with_lefts, self._pair(*before), smooth)
        smooth = _smoothed(with_right, own.uses, corpus.share(corpus.count_of(after)))
        second = _smoothed(with_both, with_left, smooth)
        smooth = _smoothed(self._pair(after, beyond), corpus.count_of(after), corpus.share(corpus.count_of(beyond)))
        third = _smoothed(with_rights, with_right, smooth)
        return log(first) + log(second) + log(third)

    def about(self, form: str, gap: Gap) -> float:
        """How much more often than expected a form is in texts with the words of the sentence further off than two."""
        content = self._corpus.content_words([*gap.left[:-2], *gap.right[2:]])
        if not len(content):
            return 0.0
        if form not in self._about:
            self._about[form] = self._corpus.content_lift(form, ABOUT_PRIOR)
        return float(np.log(self._about[form][content]).sum())

    def _company(self, form: str) -> Company:
        if form not in self._companies:
            self._companies[form] = self._corpus.company(form)
        return self._companies[form]

    def _pair(self, first: int, second: int) -> int:
        if (first, second) not in self._pairs:
            self._pairs[first, second] = self._corpus.pair_count(first, second)
        return self._pairs[first, second]


def _smoothed(count: int, total: int, expected: float) -> float:
    return (count + PRIOR * expected) / (total + PRIOR)
