"""The pairs that a class is forgotten by, chosen as in Unlearning via Sparse Representations, section 4."""

import numpy as np
from datasets import Dataset

from excise.selection import Selection

SITE = "bottleneck"


def by_activations(counts: np.ndarray, count: int) -> Selection:
    """The pairs that the forget set selects most often: *unlearning via activations*.

    Args:
        counts: in how many examples of the forget set each pair is selected, int64 `(num_pairs,)`; of the forget set
            itself, cached in training, or of a proxy set.
        count: how many pairs, the paper's N_a. Pairs that the forget set never selects are not among them: where fewer
            were ever selected, these are all. Of pairs selected as often, those of lower numbers come first.

    Raises:
        ValueError: if `count` is not from 1 to the number of pairs, or `counts` are no counts or all 0.

    Example:
        >>> by_activations(np.array([0, 3, 1, 3]), 2).codes
        {'bottleneck': (1, 3)}
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or counts.min(initial=0) < 0:
        raise ValueError(f"counts are {counts.dtype} of shape {counts.shape}; expected integers, one for each pair.")
    if not 1 <= count <= len(counts):
        raise ValueError(f"count={count}: expected 1 to {len(counts)}, the number of pairs in the bottleneck.")
    number = min(count, np.count_nonzero(counts))
    if not number:
        raise ValueError("The forget set is empty: no pair was counted. Give at least one example.")
    least = np.partition(counts, -number)[-number]  # sorting a million takes ten times as long
    more, as_many = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
    best = np.concatenate([more, as_many[: number - len(more)]])
    return Selection({SITE: best.tolist()}, {"method": "activations", "count": count})


def by_examples(pairs: Dataset, count: int, seed: int = 0) -> Selection:
    """All pairs that some examples of the forget set select: *unlearning via examples*.

    Args:
        pairs: what `select_pairs` made of the forget set, or of a proxy set.
        count: how many examples, the paper's N_e, drawn at random. Those of a small count are among those of a larger.
        seed: of the draw.

    Raises:
        ValueError: if `count` is not from 1 to the number of examples.
    """
    selected = draw_examples(pairs, count, seed).with_format("numpy")["pairs"][:]
    found = np.flatnonzero(np.bincount(selected.reshape(-1)))
    return Selection({SITE: found.tolist()}, {"method": "examples", "count": count, "seed": seed})


def draw_examples(forget: Dataset, count: int, seed: int) -> Dataset:
    """Examples drawn at random, in an order of their own; drawn from again, the same ones.

    Raises:
        ValueError: if `count` is not from 1 to the number of examples.
    """
    if len(forget) == 0:
        raise ValueError("The forget set is empty; give at least one example.")
    if not 1 <= count <= len(forget):
        raise ValueError(f"count={count}: expected 1 to {len(forget)}, the number of examples in the forget set.")
    return forget.select(np.random.default_rng(seed).permutation(len(forget))[:count])
