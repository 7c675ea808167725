"""Logits of the same encodings under one mask after another."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.models.key_value.encodings import ENCODINGS

if TYPE_CHECKING:
    from datasets import Dataset


class MaskedLogits:
    """The logits of a data set's encodings, again and again as masks change.

    Keys are looked up once; after a change only those heads whose pair was removed look again, so that a sweep over
    masks costs little more than one look-up. Two results are kept, the last and that of the mask with which it began.

    Args:
        bottleneck: the look-ups are its own, with the mask that it has.
        encodings: a data set with a column of that name.
        batch_size: encodings at once.
    """

    @torch.no_grad()
    def __init__(self, bottleneck: KeyValueBottleneck, encodings: "Dataset", batch_size: int = 1024):
        self.bottleneck, self.rows = bottleneck, encodings._fingerprint
        rows = encodings.select_columns(ENCODINGS).with_format("torch", device=bottleneck.keys.device)
        self.heads = torch.cat([bottleneck.heads(part[ENCODINGS]) for part in rows.iter(batch_size)])
        self.batch_size = batch_size
        self._first = self._last = bottleneck.live.clone(), bottleneck.select_by_heads(self.heads)

    @torch.no_grad()
    def pairs(self) -> Tensor:
        """The pairs selected now, `(examples, num_codebooks * top_k)`."""
        live = self.bottleneck.live.clone()
        for before, pairs in (self._last, self._first):
            if not (live & ~before).any():  # where pairs have come back, they may be nearer than those selected
                if not torch.equal(live, before):
                    pairs = self.bottleneck.select_again(self.heads, pairs)
                break
        else:
            pairs = self.bottleneck.select_by_heads(self.heads)
            self._first = live, pairs
        self._last = live, pairs
        return pairs

    @torch.no_grad()
    def logits(self) -> Tensor:
        """The mean of the values selected now, `(examples, value_dim)`."""
        return torch.cat([self.bottleneck.read(part) for part in self.pairs().split(self.batch_size)])
