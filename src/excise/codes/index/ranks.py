"""Ranks of codes in texts, looked up in a code index under the masks in force now."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottlenecks
from excise.codes.counts import BestRanks, best_ranks
from excise.codes.index.parts import Ranked, keys_of
from excise.data.inputs import Texts
from excise.ledger.ledger import Ledger


class IndexedRanks:
    """The codes of those texts for which an index tells the same as the model under its masks would.

    An index has the codes of each token without masks. Codes that are removed are taken out of a token's list, and the
    next best take their places. A text has to be run where the list is too short for that, where a bottleneck before
    another passes on something else than without masks, or where an embedding row that it is read by was erased.

    Args:
        read: gives the codes of texts by their keys, and for each key its place among them, -1 for none.
        model: its masks are in force.
        inputs: the texts, and which of their tokens count.
        top_s: by site, how many codes of each token are asked for.
        passed_on: whether codes are those that a token is passed on as: all of them if the best live one is similar
            enough, in a bottleneck that passes codes on `together`; each must be itself if not.

    Attributes:
        has: which texts need not be run, bool `(texts,)`.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], tuple[Ranked, np.ndarray]],
        model: PreTrainedModel,
        inputs: Texts,
        top_s: Mapping[str, int],
        passed_on: bool = False,
    ):
        self.sites, self.device = bottlenecks(model), model.device
        ranked, places = read(keys_of(inputs.input_ids))
        self.has = places >= 0
        texts = np.flatnonzero(self.has)
        lengths, starts = ranked.lengths[places[texts]], (np.cumsum(ranked.lengths) - ranked.lengths)[places[texts]]
        # The tokens of the texts that are there: where each stands, of which text it is, and whether it counts.
        tokens, of_text = ranges(starts, lengths), np.repeat(np.arange(len(texts)), lengths)
        counts = np.ones(len(tokens), bool)
        if inputs.masks is not None:
            counts = np.array([flag for text in texts.tolist() for flag in inputs.masks[text]], bool)
        unsure = np.zeros(len(texts), bool)
        chosen: dict[str, np.ndarray] = {}
        for number, (site, bottleneck) in enumerate(self.sites.items()):
            live = bottleneck.in_force.cpu().numpy()
            gone = ~live[ranked.codes[site]]
            if number < len(self.sites) - 1:
                changed = gone[tokens, : bottleneck.top_s].any(1) & (ranked.similar[site][tokens] > 0)
                unsure |= np.bincount(of_text[changed], minlength=len(texts)) > 0
            counted = tokens[counts]
            chosen[site], enough = among_live(
                ranked.codes[site][counted],
                gone[counted],
                ranked.similar[site][counted],
                top_s[site],
                passed_on and bottleneck.together,
            )
            unsure |= np.bincount(of_text[counts][~enough], minlength=len(texts)) > 0
        self.has[texts[unsure]] = False
        rows = Ledger.from_dict(model.config.unlearning).erased_rows().values()
        if erased := {token for tokens_of in rows for token in tokens_of}:
            self.has &= np.array([erased.isdisjoint(ids) for ids in inputs.input_ids], bool)
        self._codes = chosen
        counted_lengths = np.zeros(len(places), np.int64)
        counted_lengths[texts] = np.bincount(of_text[counts], minlength=len(texts))
        self._lengths, self._starts = counted_lengths, np.cumsum(counted_lengths) - counted_lengths

    def codes(self, rows: Sequence[int], site: str) -> tuple[np.ndarray, np.ndarray]:
        """The codes of the counted tokens of some texts, `(tokens, top_s)`, -1 for none, and the text of each."""
        texts = np.asarray(rows, np.int64)
        lengths = self._lengths[texts]
        return self._codes[site][ranges(self._starts[texts], lengths)], np.repeat(np.arange(len(texts)), lengths)

    def best(self, rows: Sequence[int]) -> dict[str, BestRanks]:
        """By site, the best rank of each code in each of some texts, all of which it has."""
        ranked = {}
        for site, bottleneck in self.sites.items():
            codes, texts = (torch.from_numpy(of).long().to(self.device) for of in self.codes(rows, site))
            ranked[site] = best_ranks(codes, texts, len(rows), bottleneck.num_codes)
        return ranked


def among_live(
    codes: np.ndarray, gone: np.ndarray, similar: np.ndarray, top_s: int, passed_on: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The best codes of tokens that are left when some are gone.

    Args:
        codes: `(tokens, depth)`, best first.
        gone: which of them are removed.
        similar: how many of each token's, from the first, are similar enough.
        top_s: how many are asked for.
        passed_on: as in `IndexedRanks`.

    Returns:
        Codes, `(tokens, top_s)`, -1 for none; and for which tokens there are enough of them to tell.

    Example:
        >>> codes, gone = np.array([[7, 5, 3], [7, 5, 3]]), np.array([[False, True, False], [True, True, False]])
        >>> found, enough = among_live(codes, gone, np.array([3, 3]), 2, False)
        >>> found.tolist(), enough.tolist()
        ([[7, 3], [3, -1]], [True, False])
    """
    depth, width = codes.shape[1], min(top_s, codes.shape[1])
    touched = gone.any(1)
    order = np.argsort(gone[touched], axis=1, kind="stable")  # those that are left first, each in its place
    best = np.full((len(codes), top_s), -1, np.int32)
    best[:, :width] = codes[:, :width]
    best[touched, :width] = np.take_along_axis(codes[touched], order, 1)[:, :width]
    kept = depth - gone.sum(1)
    best[np.arange(top_s) >= kept[:, None]] = -1
    if not passed_on:
        unlike = np.arange(width) >= similar[:, None]
        unlike[touched] = order[:, :width] >= similar[touched, None]
        best[:, :width][unlike] = -1
        # Beyond the last code that is similar enough, no other is.
        return best, (kept >= top_s) | (similar < depth)
    first = np.zeros(len(codes), np.int64)
    first[touched] = np.where(kept[touched] > 0, order[:, 0], depth)
    nothing = (first >= similar) & (similar < depth)
    best[nothing] = -1
    return best, (kept >= top_s) | nothing


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers from each start on, as many as its length, one after the other.

    Example:
        >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
        [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


def merged(parts: Sequence[tuple[Sequence[int], dict[str, BestRanks]]], num_codes: Mapping[str, int]) -> dict:
    """Best ranks of the examples of a batch, of parts of it.

    Args:
        parts: places in the batch, and the ranks of the examples at these.
        num_codes: by site.
    """
    total, ranked = sum(len(places) for places, _ in parts), {}
    for site, width in num_codes.items():
        cells, ranks = [], []
        for places, found in parts:
            of = torch.as_tensor(np.asarray(places, np.int64), device=found[site].cells.device)
            cells.append(of[found[site].cells // width] * width + found[site].cells % width)
            ranks.append(found[site].ranks)
        joined, order = torch.cat(cells).sort()
        ranked[site] = BestRanks(joined, torch.cat(ranks)[order], total)
    return ranked
