"""Stamp of a cache of keys and values, or of another memory of earlier tokens: the masks that it was filled under."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from transformers import Cache, EncoderDecoderCache

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.site import in_use, is_left_out

# What models of transformers call their memory of earlier tokens, as they take it and as they put it out: keys and
# values, the states of recurrent ones, and of RWKV, XLNet and Reformer lists of tensors.
MEMORIES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")
# By bottleneck, its mask as it was last looked at: what tells whether it is the same, and its digest.
SEEN: WeakKeyDictionary[Bottleneck, tuple[tuple[int, int, int], str]] = WeakKeyDictionary()


def stamp(model: Any) -> str:
    """A digest of the masks in force, which is computed anew only where one may have changed.

    Args:
        model: one with attached bottlenecks, or its base model: it knows where they are, and no module is looked for.
    """
    left = "left out" if is_left_out(model) else ""
    return left + "".join(_of_mask(bottleneck) for bottleneck in _bottlenecks(model))


def check_memories(model: Any, arguments: Mapping[str, Any], stamped: str) -> None:
    """Refuses a cache that was filled under other masks: it holds what has been forgotten since, or lacks what is back.

    A cache without a stamp was filled by something else, as by the plain model or a compiled one; it will do while
    nothing is masked.

    Args:
        model: as for `stamp`.
        arguments: what it is run on, by name.
        stamped: the stamp of the masks in force.

    Raises:
        ValueError: if it was.
    """
    for name in MEMORIES:
        earlier = {getattr(carrier, "excise_masks", None) for carrier in _carriers(arguments.get(name))}
        if earlier <= {stamped} or not is_filled(arguments[name]):
            continue
        if earlier - {stamped, None}:
            raise ValueError(
                f"The cache ({name}) was filled under other masks than those in force now: it holds what tokens became "
                "that passed codes which are removed since, or the other way round. Start with an empty cache."
            )
        if any(not b.live.is_meta and not b.in_force.all() for b in _bottlenecks(model)):
            raise ValueError(
                f"Something is masked, and the cache ({name}) does not say what was masked when it was filled, as one "
                "that the plain model or a compiled one has filled, or that was put together by hand. Start with an "
                "empty cache."
            )


def put_stamp(arguments: Mapping[str, Any], output: Any, stamped: str) -> None:
    """Notes on caches the masks that they were filled under: those given, which are filled in place, and those put out.

    Args:
        arguments: what the model was run on, by name.
        output: by name too, or a tuple.
        stamped: the stamp of the masks in force.
    """
    for name in MEMORIES:
        for carrier in _carriers((arguments.get(name), getattr(output, name, None))):
            carrier.excise_masks = stamped


def is_filled(memory: Any) -> bool:
    """Whether a cache holds something of earlier tokens; what cannot be asked does."""
    if isinstance(memory, EncoderDecoderCache):
        memory = (memory.self_attention_cache, memory.cross_attention_cache)
    if isinstance(memory, list | tuple):
        return any(map(is_filled, memory))
    if isinstance(memory, Cache):  # of layers with keys and values, with states, or with both
        lengths = (layer.get_seq_length() for layer in memory.layers if hasattr(layer, "get_seq_length"))
        states = (state for layer in memory.layers for state in getattr(layer, "has_previous_state", {}).values())
        return any(states) or any(lengths)
    return memory is not None and bool(getattr(memory, "seqlen_offset", True))  # which an xLSTM counts in its own


def _carriers(memory: Any) -> Iterable[Any]:
    """What of a memory can hold a stamp: itself, or each tensor where it is a list of them."""
    if isinstance(memory, list | tuple):
        for part in memory:
            yield from _carriers(part)
    elif memory is not None:
        yield memory


def _bottlenecks(model: Any) -> list[Bottleneck]:
    return [in_use(layer.bottleneck) for layer in model.attached_layers()]


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


__all__ = ["MEMORIES", "check_memories", "is_filled", "put_stamp", "stamp"]
