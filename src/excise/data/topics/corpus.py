"""Corpus of texts with the company of each word: which words can stand where another stood."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import regex
from scipy import sparse

from excise.data.topics.company import Company, stretches
from excise.data.words import BEYOND, LETTERS, evened, ranges

EDGE = "\n"
STOPS = frozenset('.!?:"\u201c\u201d\n')
# By frequency: the words told apart as neighbours (grammar), and those that tell what a text is about.
NEAR = 300
CONTENT = slice(150, 4000)


def tokens(text: str) -> list[str]:
    """Words, clitics, numbers and punctuation marks, as neighbours are compared.

    Other than words (`excise.data.words`), of whose letters they are made: contractions come apart as in the Penn
    Treebank (do n't, teacher 's), and so do letters and digits.

    >>> tokens("It isn't the teacher's.")
    ['It', 'is', "n't", 'the', 'teacher', "'s", '.']
    """
    return _tokens(evened(text))


def _tokens(text: str, edge: str = "") -> list[str]:
    """The tokens of a text that is evened out, or of many with an edge between them."""
    letters, digits = (f"[{LETTERS}]", r"\p{Nd}") if BEYOND.search(text) else (f"[{ranges(LETTERS)}]", r"\d")
    shortened = f"n't(?!{letters})"
    # The first kind are nearly all words, and found much faster than the second, which is what n't leaves.
    kinds = (f"{letters}+(?!'t|{letters})", f"{letters}+?(?={shortened})", shortened, f"'?{letters}+", f"{digits}+")
    pattern: Any = (regex if BEYOND.search(text) else re).compile("|".join([*kinds, r"[^\w\s]", *edge]))
    return pattern.findall(text)


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
        # All texts are one, so that one search finds all tokens. Two edges around each text, and none inside, so that
        # a window of two words never reaches into the next.
        flat = _tokens(2 * EDGE + "".join(evened(text).replace(EDGE, " ") + 2 * EDGE for text in texts), EDGE)
        spellings = list(dict.fromkeys(flat))
        index = {spelling: number for number, spelling in enumerate(spellings)}
        ids = np.fromiter(map(index.__getitem__, flat), dtype=np.int32, count=len(flat))
        self.proper = _proper_words(spellings, ids)
        cased = [word if word in self.proper else word.lower() for word in spellings]
        self._index = {word: number for number, word in enumerate(dict.fromkeys(cased))}
        self._ids = ids = np.array([self._index[word] for word in cased], dtype=np.int32)[ids]
        counts = np.bincount(ids)
        self.count = dict(zip(self._index, counts.tolist(), strict=True))
        self._rank = np.argsort(np.argsort(-counts, kind="stable"))
        self._frames = _frames(ids, np.minimum(self._rank, NEAR).astype(np.int32))
        self._frame_totals = self._frames.sum(axis=0).A1
        # Where each word stands, and in which text. Numbers of two bytes are sorted several times as fast.
        few = len(counts) <= np.iinfo(np.uint16).max
        self._order = np.argsort(ids.astype(np.uint16) if few else ids, kind="stable").astype(np.int32)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._text = np.maximum(np.cumsum(ids == self._index[EDGE], dtype=np.int32) // 2 - 1, 0)
        self._content = _content(self._rank[ids], self._text)
        self._content_totals = self._content.sum(axis=0).A1
        self._is_name = np.array([len(word) > 1 and word in self.proper for word in self._index])

    def texts(self, forms: Sequence[str]) -> np.ndarray:
        """The indices of the texts that hold any of the forms, int64, each once."""
        return np.unique(self._text[np.concatenate([self._places(form) for form in forms])])

    def _ids_of(self, forms: Sequence[str]) -> np.ndarray:
        return np.array([self._index[form] for form in forms if form in self._index], dtype=np.int64)

    def _places(self, form: str) -> np.ndarray:
        own = self._index.get(form)
        return self._order[self._first[own] : self._first[own + 1]] if own is not None else self._order[:0]

    def frame_similarity(self, forms: Sequence[str], candidates: Sequence[Sequence[str | None]]) -> np.ndarray:
        """How alike words are in grammar: the Bhattacharyya coefficient of the distributions of their neighbours.

        Neighbours are the words next to it on either side, and both sides at once (*I wish I*, *some water*, *in
        Boston*); the 300 most frequent are told apart.

        Args:
            forms: the forms of the word.
            candidates: for each candidate its forms in the same order, None where it has none.

        Returns:
            float64 (num_candidates,), between 0 and 1.
        """
        shared, totals, whole = np.zeros(len(candidates)), np.zeros(len(candidates)), 0.0
        for slot, form in enumerate(forms):
            own = self._frames[self._ids_of([form])].sqrt()
            rows = np.array([self._index.get(other[slot] or "", -1) for other in candidates], dtype=np.int64)
            known = np.flatnonzero(rows >= 0)
            frames = self._frames[rows[known]]
            totals[known] += frames.sum(axis=1).A1
            whole += self._frames[self._ids_of([form])].sum()
            shared[known] += (frames.sqrt() @ own.T).sum(axis=1).A1
        return shared / np.sqrt(np.maximum(totals * whole, 1.0))

    def telling_similarity(self, forms: Sequence[str], candidates: Sequence[Sequence[str | None]]) -> np.ndarray:
        """How alike words are in the neighbours that tell them from others (*hate* and *love*: "I _ it when").

        The cosine of the positive pointwise mutual information with the neighbours of `frame_similarity`; what was seen
        once counts half.

        Args:
            forms: the forms of the word.
            candidates: for each candidate its forms, or None.

        Returns:
            float64 (num_candidates,), between 0 and 1.
        """
        words = [self._ids_of([form for form in own if form is not None]) for own in (forms, *candidates)]
        starts = np.cumsum([0, *map(len, words)])
        holds = sparse.csr_matrix(
            (np.ones(starts[-1]), np.concatenate(words), starts), (len(words), self._frames.shape[0])
        )
        counts = (holds @ self._frames).tocoo()
        totals = counts.sum(axis=1).A1[counts.row] * self._frame_totals[counts.col]
        information = np.log(counts.data * self._frame_totals.sum() / totals) * counts.data / (counts.data + 1)
        vectors = sparse.csr_matrix((np.maximum(information, 0.0), (counts.row, counts.col)), shape=counts.shape)
        norms = np.sqrt(vectors.multiply(vectors).sum(axis=1).A1)
        return (vectors[1:] @ vectors[0].T).toarray()[:, 0] / np.maximum(norms[1:] * norms[0], 1e-9)

    def content_similarity(self, forms: Sequence[str], candidates: Sequence[Sequence[str]]) -> np.ndarray:
        """How alike words are in matter: the cosine of their positive pointwise mutual information with content words.

        Args:
            forms: the forms of the word.
            candidates: for each candidate its forms.

        Returns:
            float64 (num_candidates,), between 0 and 1.
        """
        words = [forms, *candidates]
        members = [self.texts(own) for own in words]
        starts = np.concatenate([[0], np.cumsum([len(own) for own in members])])
        holds = sparse.csr_matrix(
            (np.ones(starts[-1]), np.concatenate(members), starts), (len(words), self._content.shape[0])
        )
        counts = (holds @ self._content).toarray()
        for row, own in enumerate(words):
            columns = self._rank[self._ids_of(own)] - CONTENT.start
            counts[row, columns[(columns >= 0) & (columns < counts.shape[1])]] = 0
        expected = counts.sum(axis=1, keepdims=True) * self._content_totals / max(self._content_totals.sum(), 1.0)
        ratio = np.divide(counts, expected, out=np.ones_like(counts), where=(counts > 0) & (expected > 0))
        vectors = np.maximum(np.log(ratio), 0.0)
        norms = np.linalg.norm(vectors, axis=1)
        return vectors[1:] @ vectors[0] / np.maximum(norms[1:] * norms[0], 1e-9)

    def company_share(self, form: str) -> float:
        """The share of a form's occurrences beside a name: high for parts of longer names (*San*, *York*)."""
        places = self._places(form)
        beside = self._is_name[self._ids[places - 1]] | self._is_name[self._ids[places + 1]]
        return float(beside.mean()) if len(places) else 0.0

    def neighbour_share(self, form: str, left: Sequence[str]) -> float:
        """The share of a form's occurrences that follow one of the words `left`."""
        places = self._places(form)
        wanted = [self._index[word] for word in left if word in self._index]
        return float(np.isin(self._ids[places - 1], wanted).mean()) if len(places) else 0.0

    def gap(self, left: Sequence[str], right: Sequence[str]) -> tuple[int, ...]:
        """The stretches around a gap in a text, as `Company.fit` asks for them.

        Args:
            left: the tokens before the gap as they stand in the text; the last two count.
            right: the tokens after the gap; the first two count.
        """
        return stretches(*self.near(left, right))

    def near(self, left: Sequence[str], right: Sequence[str]) -> tuple[int, int, int, int]:
        """The numbers of two words to the left of a gap in a text and of two to the right, -1 for unknown ones.

        Args:
            left: the tokens before the gap as they stand in the text; the last two count.
            right: the tokens after the gap; the first two count.
        """
        words = [*[*([EDGE] * 2), *left][-2:], *[*right, *([EDGE] * 2)][:2]]
        far_left, near_left, near_right, far_right = map(self._true_id, words)
        return far_left, near_left, near_right, far_right

    def third(self, right: Sequence[str]) -> int:
        """The number of the third word to the right of a gap, an edge behind the end of the text, -1 if unknown."""
        return self._true_id([*right, *([EDGE] * 3)][2])

    def company(self, form: str) -> Company:
        """The stretches around all occurrences of a form."""
        places = self._places(form)
        near = [self._ids[places + offset].astype(np.int64) for offset in (-2, -1, 1, 2)]
        # The third to the right is an edge where the second is one: what comes then is another text's.
        third = self._ids[np.minimum(places + 3, len(self._ids) - 1)]
        third = np.where(near[3] == self._index[EDGE], near[3], third)
        counts = tuple(Counter(stretch.tolist()) for stretch in stretches(*near))
        return Company(len(places), counts, Counter(third.tolist()))

    def count_of(self, number: int) -> int:
        """How often a word is in the texts, by its number; 0 of an unknown one."""
        return int(self._first[number + 1] - self._first[number]) if number >= 0 else 0

    def pair_count(self, first: int, second: int) -> int:
        """How often one word follows another, by their numbers."""
        if first < 0 or second < 0:
            return 0
        pair = first * len(self._index) + second
        return int(np.searchsorted(self._pairs, pair, side="right") - np.searchsorted(self._pairs, pair))

    @cached_property
    def _pairs(self) -> np.ndarray:
        """Each word with the one after it as one number, in ascending order."""
        return np.sort(self._ids[:-1].astype(np.int64) * len(self._index) + self._ids[1:])

    def share(self, count: int) -> float:
        """The share of a word among all that are or may come, above zero for one never seen."""
        return (count + 1) / (len(self._ids) + len(self._index))

    def content_words(self, words: Sequence[str]) -> np.ndarray:
        """Which content words are among the words of a text: columns for `content_lift`, int64."""
        known = [number for number in map(self._true_id, words) if number >= 0]
        ranks = np.unique(self._rank[np.array(known, dtype=np.int64)])
        return ranks[(ranks >= CONTENT.start) & (ranks < CONTENT.stop)] - CONTENT.start

    def content_lift(self, form: str, prior: float) -> np.ndarray:
        """How many times as often as in all texts each content word is in those with a form.

        Args:
            form: true-cased.
            prior: so many texts are added that hold a word as often as all do.

        Returns:
            float64 (num_content_words,), above zero.
        """
        texts = self.texts([form])
        holders = np.asarray(self._content[texts].sum(axis=0))[0]
        share = (self._content_totals + 1) / self._content.shape[0]
        return (holders / share + prior) / (len(texts) + prior)

    def _true_id(self, word: str) -> int:
        return self._index.get(word if word in self.proper else word.lower(), -1)


def _proper_words(spellings: list[str], ids: np.ndarray) -> frozenset[str]:
    stops = np.array([word in STOPS for word in spellings])
    middle = np.bincount(ids[1:][~stops[ids[:-1]]], minlength=len(spellings)).tolist()
    lower: dict[str, int] = {}
    for word, count in zip(spellings, middle, strict=True):
        lower[word.lower()] = lower.get(word.lower(), 0) + count
    return frozenset(
        word
        for word, count in zip(spellings, middle, strict=True)
        if count and word[0].isupper() and count >= 0.9 * lower[word.lower()]
    )


def _frames(ids: np.ndarray, near: np.ndarray) -> sparse.csr_matrix:
    size = NEAR + 1
    word, left, right = ids[1:-1], near[ids[:-2]], near[ids[2:]]
    # Each side by itself, and both at once for what only the pair tells (I _ I).
    columns = np.concatenate([left, size + right, 2 * size + left * size + right])
    shape = (len(near), 2 * size + size * size)
    return sparse.csr_matrix((np.ones(len(columns)), (np.tile(word, 3), columns)), shape=shape)


def _content(ranks: np.ndarray, text: np.ndarray) -> sparse.csr_matrix:
    kept = (ranks >= CONTENT.start) & (ranks < CONTENT.stop)
    shape = (int(text[-1]) + 1, CONTENT.stop - CONTENT.start)
    return sparse.csr_matrix((np.ones(kept.sum()), (text[kept], ranks[kept] - CONTENT.start)), shape=shape)
