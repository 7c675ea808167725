"""Stamp of a cache of keys and values: the masks that were in force when it was filled."""

import hashlib
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.site import bottlenecks, is_left_out

# By bottleneck, its mask as it was last looked at: what tells whether it is the same, and its digest.
SEEN: WeakKeyDictionary[Bottleneck, tuple[tuple[int, int, int], str]] = WeakKeyDictionary()


def stamp(model: nn.Module) -> str:
    """A digest of the masks in force, which is computed anew only where one may have changed."""
    left = "left out" if is_left_out(model) else ""
    return left + "".join(_of_mask(bottleneck) for bottleneck in bottlenecks(model).values())


def check_cache(model: nn.Module, cache: Any, stamped: str) -> None:
    """Refuses a cache that was filled under other masks: it holds what has been forgotten since, or lacks what is back.

    A cache without a stamp was filled by something else, as by the plain model or a compiled one; it will do while
    nothing is masked.

    Args:
        model: with bottlenecks.
        cache: `past_key_values`, or none.
        stamped: the stamp of the masks in force.

    Raises:
        ValueError: if it was.
    """
    earlier = getattr(cache, "excise_masks", None)
    if earlier == stamped or not hasattr(cache, "get_seq_length") or not cache.get_seq_length():
        return
    if earlier is None and any(not b.live.is_meta and not b.in_force.all() for b in bottlenecks(model).values()):
        raise ValueError(
            "Something is masked, and the cache (past_key_values) does not say what was masked when it was filled, as "
            "one that the plain model or a compiled one has filled, or that was put together by hand. Start with an "
            "empty cache."
        )
    if earlier is not None:
        raise ValueError(
            "The cache (past_key_values) was filled under other masks than those in force now: it holds keys and "
            "values of tokens that passed codes which are removed since, or the other way round. Start with an empty "
            "cache."
        )


def put_stamp(cache: Any, stamped: str) -> None:
    """Notes on a cache the masks that it was filled under."""
    if hasattr(cache, "get_seq_length"):
        cache.excise_masks = stamped


def _of_mask(bottleneck: Bottleneck) -> str:
    live = bottleneck.live
    if live.is_meta:
        return ""
    now = (id(live), -1 if live.is_inference() else live._version, id(bottleneck.removed))
    before = SEEN.get(bottleneck)
    if before is None or before[0] != now or now[1] == -1:
        bits = np.packbits(bottleneck.in_force.cpu().numpy()).tobytes()
        before = SEEN[bottleneck] = (now, hashlib.blake2b(bits, digest_size=8).hexdigest())
    return before[1]


__all__ = ["check_cache", "put_stamp", "stamp"]
