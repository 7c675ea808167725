"""Neighbours: the texts of a pool that are most like some others, by the words that they share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from excise.data.words import caseless
from excise.data.words import words as words_of


def nearest_texts(texts: Sequence[str], pool: Sequence[str], count: int) -> list[int]:
    """The texts of a pool that are nearest to some others, by the cosine of their words' weights (TF-IDF).

    A text of the pool is as near as the nearest of the others. A word weighs the more the fewer texts of the pool it is
    in; no model is asked.

    Args:
        texts: what is to be forgotten.
        pool: what may stay.
        count: how many are wanted; all if there are no more.

    Returns:
        Their numbers in the pool, the nearest first; of equally near ones the first.

    Raises:
        ValueError: if none is wanted, or there are no texts on either side.

    Example:
        >>> nearest_texts(["Her novel won a prize."], ["It rains.", "His novel won.", "A prize."], 2)
        [2, 1]
    """
    if count < 1:
        raise ValueError(f"neighbours={count}: expected at least one.")
    if not texts or not pool:
        raise ValueError("There are no texts to find neighbours of, or among. Give rows on both sides.")
    numbers: dict[str, int] = {}
    counted = [_counts(text, numbers) for text in (*pool, *texts)]
    matrix = _matrix(counted, len(numbers))
    holding = np.asarray((matrix[: len(pool)] > 0).sum(0)).ravel()
    weighted = matrix.multiply(np.log((1 + len(pool)) / (1 + holding)) + 1).tocsr()
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    norms[norms == 0] = 1
    weighted = weighted.multiply(1 / norms[:, None]).tocsr()
    near = np.zeros(len(pool))
    for start in range(len(pool), len(counted), 256):  # so that little is in memory at once
        likeness = (weighted[: len(pool)] @ weighted[start : start + 256].T).max(axis=1)
        near = np.maximum(near, likeness.toarray().ravel())
    return np.argsort(-near.round(12), kind="stable")[:count].tolist()


def _counts(text: str, numbers: dict[str, int]) -> dict[int, int]:
    """How often each word is in a text, by its number; new words get the next."""
    counts: dict[int, int] = {}
    for word in words_of(text):
        number = numbers.setdefault(caseless(word.text), len(numbers))
        counts[number] = counts.get(number, 0) + 1
    return counts


def _matrix(counts: Sequence[dict[int, int]], width: int) -> Any:
    """Counts as a sparse matrix, a row a text."""
    from scipy.sparse import csr_matrix

    columns = np.array([number for row in counts for number in row], dtype=np.int64)
    values = np.array([value for row in counts for value in row.values()], dtype=np.float64)
    starts = np.cumsum([0, *map(len, counts)])
    return csr_matrix((values, columns, starts), shape=(len(counts), width))
