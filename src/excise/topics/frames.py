"""The company that words keep in a corpus: which word can stand where another stood."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy import sparse

_TOKEN = re.compile(r"[^\W\d_]+|['\u2019][^\W\d_]+|\d+|[^\w\s]")
_EDGE = "\n"
_STOPS = frozenset('.!?:"\u201c\u201d\n')
# How many words are told apart next to a word, and one further.
_NEAR, _FAR = 300, 3000


def tokens(text: str) -> list[str]:
    """Words, clitics ('s, n't as 't), numbers and punctuation marks.

    >>> tokens("The teacher's car.")
    ['The', 'teacher', "'s", 'car', '.']
    """
    return _TOKEN.findall(text)


class Corpus:
    """Counts of words and of their neighbours, true-cased.

    A word at the start of a sentence is lowered unless it is capitalised in the middle of sentences as well, so that
    *The* is *the* but *Mary* stays *Mary*.

    Args:
        texts: the sentences to learn from.

    Attributes:
        count: form -> number of occurrences.
        proper: forms that are capitalised in at least nine of ten mid-sentence uses.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        # Two edges around each text, so that a window of two words never reaches into the next.
        flat = [_EDGE, _EDGE]
        for text in texts:
            flat += _TOKEN.findall(text)
            flat += (_EDGE, _EDGE)
        starts = [False, *(word in _STOPS for word in flat[:-1])]
        self.proper = _proper_words(flat, starts)
        flat = [word if word in self.proper else word.lower() for word in flat]
        self._index = {word: index for index, word in enumerate(dict.fromkeys(flat))}
        self._ids = ids = np.fromiter((self._index[word] for word in flat), dtype=np.int64, count=len(flat))
        counts = np.bincount(ids)
        self.count = dict(zip(self._index, counts.tolist(), strict=True))
        self._frames = _frames(ids, counts)
        # Where each word stands, and in which text.
        self._order = np.argsort(ids, kind="stable")
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._text = np.cumsum(ids == self._index[_EDGE]) // 2 - 1

    def texts(self, form: str) -> np.ndarray:
        """The indices of the texts that hold a form, int64, each once."""
        return np.unique(self._text[self._places(form)])

    def _places(self, form: str) -> np.ndarray:
        own = self._index.get(form)
        return self._order[self._first[own] : self._first[own + 1]] if own is not None else self._order[:0]

    def similarity(self, forms: Sequence[str], candidates: Sequence[Sequence[str | None]]) -> np.ndarray:
        """How alike the frames of words are: the Bhattacharyya coefficient of their neighbour distributions.

        Neighbours are the words next to it on either side, the 300 most frequent by name and the rest as one, which
        compares grammar (*I wish I*, *some water*, *in Boston*); and those one further, the 3,000 most frequent by
        name, which compares matter (*glass of water*, *park the car*).

        Args:
            forms: the forms of the word.
            candidates: for each candidate its forms in the same order, None where it has none.

        Returns:
            float64 (num_candidates,), between 0 and 1.
        """
        result = np.zeros(len(candidates))
        totals = np.zeros(len(candidates))
        for slot, form in enumerate(forms):
            rows = np.array([self._index.get(own[slot], -1) if own[slot] else -1 for own in candidates])
            known = rows >= 0
            totals[known] += self._frames[rows[known]].sum(axis=1).A1
            if form in self._index:
                own_frame = self._frames[self._index[form]].sqrt()
                result[known] += (self._frames[rows[known]].sqrt() @ own_frame.T).toarray()[:, 0]
        whole = sum(self._frames[self._index[form]].sum() for form in forms if form in self._index)
        return result / np.sqrt(np.maximum(totals * whole, 1.0))

    def neighbour_share(self, form: str, left: Sequence[str]) -> float:
        """The share of a form's occurrences that follow one of the words `left`."""
        places = self._places(form)
        wanted = [self._index[word] for word in left if word in self._index]
        return float(np.isin(self._ids[places - 1], wanted).mean()) if len(places) else 0.0

    def fit(self, left: Sequence[str], form: str, right: Sequence[str]) -> int:
        """How well a form goes into a gap: a point for each stretch around the gap that was seen with the form in it.

        The stretches are one word to the left, one to the right, two to the left, one on each side, two to the right.

        Args:
            left: the tokens before the gap as they stand in the text; the last two count.
            form: what goes in.
            right: the tokens after the gap; the first two count.

        Returns:
            0 to 5.
        """
        places = self._places(form)
        if not len(places):
            return 0
        near = [self._true_id(word) for word in [*([_EDGE] * 2), *left][-2:] + [*right, *([_EDGE] * 2)][:2]]
        far_left, left_of, right_of, far_right = (
            self._ids[places + offset] == word for offset, word in zip((-2, -1, 1, 2), near, strict=True)
        )
        stretches = (left_of, right_of, left_of & far_left, left_of & right_of, right_of & far_right)
        return sum(bool(seen.any()) for seen in stretches)

    def _true_id(self, word: str) -> int:
        return self._index.get(word if word in self.proper else word.lower(), -1)


def _proper_words(flat: list[str], starts: list[bool]) -> frozenset[str]:
    middle: dict[str, int] = {}
    for word, start in zip(flat, starts, strict=True):
        if not start:
            middle[word] = middle.get(word, 0) + 1
    lower: dict[str, int] = {}
    for word, count in middle.items():
        lower[word.lower()] = lower.get(word.lower(), 0) + count
    return frozenset(word for word, count in middle.items() if word[0].isupper() and count >= 0.9 * lower[word.lower()])


def _frames(ids: np.ndarray, counts: np.ndarray) -> sparse.csr_matrix:
    by_frequency = np.argsort(np.argsort(-counts, kind="stable"))
    near, far = np.minimum(by_frequency, _NEAR), np.minimum(by_frequency, _FAR)
    inside = slice(2, -2)
    left, right = near[ids[1:-3]], near[ids[3:-1]]
    # Each neighbour by itself, and both at once for what only the pair tells (I _ I).
    blocks = [(left, _NEAR), (right, _NEAR), (left * (_NEAR + 1) + right, (_NEAR + 1) ** 2)]
    blocks += [(far[ids[:-4]], _FAR), (far[ids[4:]], _FAR)]
    columns, offset = [], 0
    for block, largest in blocks:
        columns.append(block + offset)
        offset += largest + 1
    rows = np.tile(ids[inside], len(blocks))
    ones = np.ones(len(rows))
    return sparse.csr_matrix((ones, (rows, np.concatenate(columns))), shape=(len(counts), offset))
