"""Choice of a word for a gap in a sentence: trigrams on both sides of it, and which words go together in a text.

An n-gram that was not seen backs off to the shorter one, as under a Dirichlet prior: `PRIOR` occurrences are put in of
what the shorter one expects. Words further off than two say what the sentence is about (*gas*: a *car* or a *bus*, no
*dictionary*).

Source: MacKay and Peto (1995), A hierarchical Dirichlet language model.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

from excise.data.topics.company import Company
from excise.data.topics.corpus import Corpus

# By these the true word came out best, or nearly so, among its like in texts of which nothing was counted.
PRIOR = 15.0
# So many texts with a word are needed for half of what they say about its company; and what that weighs.
ABOUT_PRIOR, ABOUT = 30.0, 0.4
# What the third word to the right weighs.
FURTHER = 0.5


class Gap(NamedTuple):
    """A place in a sentence without the word that stands there, and what of it is the same for every word.

    Attributes:
        stretches: the words around it, alone and in pairs, as `Company.counts` takes them.
        left: how often the word before it occurs.
        lefts: how often the two before it do, one after the other.
        right: the share of the word after it.
        far_right: how likely the next but one is after the next.
        third: the number of the third word to the right.
        third_share: its share.
        about: which content words stand further off than two, as `Corpus.content_lift` has them.
    """

    stretches: tuple[int, ...]
    left: int
    lefts: int
    right: float
    far_right: float
    third: int
    third_share: float
    about: np.ndarray


class WordsInGaps:
    """How well words go into gaps, in natural logarithms.

    Args:
        corpus: to learn from. A text whose word is replaced may be among its texts: it holds the topic's word, and says
            nothing for or against another.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._companies: dict[str, Company] = {}
        self._about: dict[str, np.ndarray] = {}

    def gap(self, left: Sequence[str], right: Sequence[str]) -> Gap:
        """A gap between the tokens of a text before it and those after it, as they stand in the text."""
        corpus = self._corpus
        far_left, before, after, beyond = corpus.near(left, right)
        third = corpus.third(right)
        smooth = corpus.share(corpus.count_of(beyond))
        return Gap(
            stretches=corpus.gap(left, right),
            left=corpus.count_of(before),
            lefts=corpus.pair_count(far_left, before),
            right=corpus.share(corpus.count_of(after)),
            far_right=_smoothed(corpus.pair_count(after, beyond), corpus.count_of(after), smooth),
            third=third,
            third_share=corpus.share(corpus.count_of(third)),
            about=corpus.content_words([*left[:-2], *right[2:]]),
        )

    def fit(self, form: str, gap: Gap) -> float:
        """How likely a form and the two words after it are, given the two before it and what else the sentence says.

        Only differences between forms in one gap have a meaning.
        """
        return self.likelihood(form, gap) + FURTHER * self.further(form, gap) + ABOUT * self.about(form, gap)

    def likelihood(self, form: str, gap: Gap) -> float:
        """The logarithm of P(form | two before) P(next | one before, form) P(next but one | form, next)."""
        own = self._company(form)
        left, right, lefts, both, rights = own.counts(gap.stretches)
        first = _smoothed(lefts, gap.lefts, _smoothed(left, gap.left, self._corpus.share(own.uses)))
        second = _smoothed(both, left, _smoothed(right, own.uses, gap.right))
        third = _smoothed(rights, right, gap.far_right)
        return log(first * second * third)

    def further(self, form: str, gap: Gap) -> float:
        """How much more often than expected the third word after a form is the one of the gap.

        It tells verbs with a sentence after them from those with an object (*I think this ...*, *I hate this ...*).
        """
        own = self._company(form)
        return log(_smoothed(own.third.get(gap.third, 0), own.uses, gap.third_share) / gap.third_share)

    def about(self, form: str, gap: Gap) -> float:
        """How much more often than expected a form is in texts with the words of the sentence further off than two."""
        if not len(gap.about):
            return 0.0
        if form not in self._about:
            self._about[form] = np.log(self._corpus.content_lift(form, ABOUT_PRIOR))
        return float(self._about[form][gap.about].sum())

    def _company(self, form: str) -> Company:
        if form not in self._companies:
            self._companies[form] = self._corpus.company(form)
        return self._companies[form]


def _smoothed(count: int, total: int, expected: float) -> float:
    return (count + PRIOR * expected) / (total + PRIOR)
