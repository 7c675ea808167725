"""Look-up of the live keys nearest to a head (Unlearning via Sparse Representations, section 3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor
from transformers.utils.generic import maybe_autocast

# Distances held at once: 1M in fp32 is 4 MiB, which stays in a processor's cache.
MAX_DISTANCES = 2**20
# Distances of candidates held at once besides, where several keys are selected: of a few codebooks, so that the steps
# after the first are worth a second thread.
MAX_CANDIDATES = 2**19
# Keys a block of the search for one key; codebooks of a multiple of it are searched so.
BLOCK = 64
# Keys a block of the search for several keys: the first that leaves more than twice as many blocks as are selected.
BLOCKS = (64, 32, 16)
# Keys a block of its second step.
SMALL_BLOCK = 8
# Keys of the codebooks that are gone through at once where the look-up is compiled or exported.
PART = 2**16
# Where a head is taken to be that is infinitely far out.
FAR = 1e15
# The lower half of an integer of 64 bits.
LOW = 2**32 - 1


class Nearest(NamedTuple):
    """Selected keys.

    Args:
        keys: int64 `(batch, num_codebooks, top_k)`, indices within each codebook, nearest first.
        distances: float32 of the same shape, squared Euclidean.
    """

    keys: Tensor
    distances: Tensor


class _Candidates(NamedTuple):
    """Blocks of neighbouring keys that hold the nearest: numbers `(*batch, n)`, distances `(*batch, n, block)`."""

    numbers: Tensor
    distances: Tensor


@torch.no_grad()
def nearest_keys(
    heads: Float[Tensor, "batch num_codebooks key_dim"],
    keys: Float[Tensor, "num_codebooks num_pairs key_dim"],
    top_k: int,
    live: Bool[Tensor, "num_codebooks num_pairs"],
    max_distances: int = MAX_DISTANCES,
) -> Nearest:
    """The `top_k` live keys of each codebook nearest to its head, by squared distance, in fp32.

    Of keys at the same distance the first is nearer, for every `top_k`. No more than `max_distances` distances exist at
    a time (but all of one head to one codebook), and as many candidates. A removed key is infinitely far away, so that
    the next nearest is selected instead (section 4, "Inference for Unlearning"). Compiled or exported, it goes through
    a few codebooks at a time, for all heads: the size of the batch may then be any.

    Args:
        heads: what to look up: one vector for each codebook.
        keys: the codebooks.
        top_k: how many keys to select; each codebook has at least so many live ones.
        live: False for pairs that are masked or deleted.
        max_distances: bound on the distances held at once, where it is not compiled.

    Example:
        >>> keys = torch.tensor([[[0.0], [1.0], [3.0]]])
        >>> live = torch.tensor([[True, False, True]])
        >>> [part.tolist() for part in nearest_keys(torch.tensor([[[1.2]]]), keys, 1, live)]
        [[[[0]]], [[[1.440000057220459]]]]
    """
    with maybe_autocast(heads.device.type, enabled=False):
        heads, keys = heads.float(), keys.float()
        lengths = heads.square().sum(-1, keepdim=True)
        # The head's own length does not change the order.
        offsets = keys.square().sum(-1).masked_fill(~live, float("inf"))
        if top_k > 1:
            heads = heads.nan_to_num(0.0, FAR, -FAR)  # every distance is a number, and those of removed keys are last
        if torch.compiler.is_compiling():
            found, distances = _of_parts(heads, keys, offsets, top_k)
        elif top_k == 1:
            found, distances = _nearest_one(heads, keys, offsets, max_distances)
        else:
            found, distances = _nearest_few(heads, keys, offsets, top_k, max_distances)
        distances += lengths
    return Nearest(found, distances.clamp_min_(0))  # rounding can bring a distance of zero below it


def _nearest_one(
    heads: Float[Tensor, "batch num_codebooks key_dim"],
    keys: Float[Tensor, "num_codebooks num_pairs key_dim"],
    offsets: Float[Tensor, "num_codebooks num_pairs"],
    max_distances: int,
) -> Nearest:
    """The nearest key of each codebook, and its distance but for the head's own length."""
    found = torch.empty(*heads.shape[:2], 1, dtype=torch.int64, device=heads.device)
    distances = torch.empty(found.shape, device=heads.device)
    rows = max(1, max_distances // keys.shape[1])
    for codebook in range(len(keys)):
        for start in range(0, len(heads), rows):
            part = heads[start : start + rows, codebook]
            to_keys = torch.addmm(offsets[codebook], part, keys[codebook].T, alpha=-2)
            best = _smallest(to_keys)
            found[start : start + rows, codebook] = best
            distances[start : start + rows, codebook] = to_keys.gather(1, best)
    return Nearest(found, distances)


def _nearest_few(
    heads: Float[Tensor, "batch num_codebooks key_dim"],
    keys: Float[Tensor, "num_codebooks num_pairs key_dim"],
    offsets: Float[Tensor, "num_codebooks num_pairs"],
    top_k: int,
    max_distances: int,
) -> Nearest:
    """The nearest keys of each codebook, and their distances but for the head's own length."""
    found = torch.empty(*heads.shape[:2], top_k, dtype=torch.int64, device=heads.device)
    distances = torch.empty(found.shape, device=heads.device)
    num_pairs = keys.shape[1]
    block = _block(num_pairs, top_k)
    rows = max(1, max_distances // num_pairs)
    candidates = min(rows, len(heads)) * (top_k * block if block > 1 else num_pairs)
    at_once = max(1, MAX_CANDIDATES // max(1, candidates))
    for start in range(0, len(heads), rows):
        part = heads[start : start + rows].transpose(0, 1)
        for first in range(0, len(keys), at_once):
            some = slice(first, first + at_once)
            padded = _padded(keys[some], offsets[some], block)
            to_keys = (
                torch.addmm(offset, head, key.T, alpha=-2)
                for head, key, offset in zip(part[some], *padded, strict=True)
            )
            blocks = _Candidates(*map(torch.stack, zip(*(_candidates(x, top_k, block) for x in to_keys), strict=True)))
            nearest = _smallest_of(blocks, top_k)
            found[start : start + rows, some] = nearest.keys.transpose(0, 1)
            distances[start : start + rows, some] = nearest.distances.transpose(0, 1)
    return Nearest(found, distances)


def _of_parts(
    heads: Float[Tensor, "batch num_codebooks key_dim"],
    keys: Float[Tensor, "num_codebooks num_pairs key_dim"],
    offsets: Float[Tensor, "num_codebooks num_pairs"],
    top_k: int,
) -> Nearest:
    """As the two before, some codebooks at a time, for batches of any size in one graph."""
    parts, block = [], _block(keys.shape[1], top_k)
    codebooks = (x.split(max(1, PART // keys.shape[1])) for x in (heads.transpose(0, 1), keys, offsets))
    for part, some_keys, some_offsets in zip(*codebooks, strict=True):
        some_keys, some_offsets = _padded(some_keys, some_offsets, block)
        to_keys = torch.baddbmm(some_offsets[:, None], part, some_keys.transpose(1, 2), alpha=-2)
        if top_k == 1:
            best = _smallest(to_keys)
            parts.append(Nearest(best, to_keys.gather(-1, best)))
        else:
            parts.append(_smallest_of(_candidates(to_keys, top_k, block), top_k))
    found, distances = (torch.cat(of_parts).transpose(0, 1) for of_parts in zip(*parts, strict=True))
    return Nearest(found, distances)


def _smallest(distances: Float[Tensor, "*batch num_pairs"]) -> Int64[Tensor, "*batch 1"]:
    """Where the smallest of each row is.

    A minimum without its place takes a fraction of the time of one with it. So the least distance of each block is
    found first, then the first block that has it, then the place in it: of equal ones it is the first, wherever that
    stands.
    """
    if distances.shape[-1] % BLOCK:
        return distances.argmin(-1, keepdim=True)
    blocks = distances.unflatten(-1, (-1, BLOCK))
    block = blocks.amin(-1).argmin(-1, keepdim=True)
    nearest = blocks.gather(-2, block[..., None].expand(*block.shape, BLOCK))
    place = nearest.squeeze(-2).argmin(-1, keepdim=True)
    return block * BLOCK + place


def _block(num_pairs: int, top_k: int) -> int:
    """Keys a block where several are selected; 1 where blocks would not leave enough out."""
    if top_k == 1:
        return 1
    return next((block for block in BLOCKS if num_pairs > 2 * top_k * block), 1)


def _padded(
    keys: Float[Tensor, "num_codebooks num_pairs key_dim"],
    offsets: Float[Tensor, "num_codebooks num_pairs"],
    block: int,
) -> tuple[Tensor, Tensor]:
    """Codebooks of whole blocks: behind the last key come some that are infinitely far, as removed ones are."""
    missing = -keys.shape[1] % block
    if not missing:
        return keys, offsets
    return F.pad(keys, (0, 0, 0, missing)), F.pad(offsets, (0, missing), value=float("inf"))


def _candidates(distances: Float[Tensor, "*batch num_pairs"], top_k: int, block: int) -> _Candidates:
    """The blocks with the `top_k` smallest minima: whatever is among the `top_k` smallest of a row lies in these."""
    *batch, num_pairs = distances.shape
    numbers = torch.arange(num_pairs // block, device=distances.device)
    if block == 1:
        return _Candidates(numbers[(None,) * len(batch)], distances[..., None])
    least = distances.unflatten(-1, (num_pairs // block, block)).amin(-1)
    places = _in_order(_turned(least.view(torch.int32)), numbers).topk(top_k, sorted=False, largest=False).indices
    return _Candidates(places, _at(distances, places, block))


def _smallest_of(candidates: _Candidates, top_k: int) -> Nearest:
    """The nearest keys among candidates: of each of their blocks, the smaller ones with the `top_k` smallest minima."""
    numbers, distances = candidates.numbers, _turned(candidates.distances.view(torch.int32))
    block = distances.shape[-1]
    if block > SMALL_BLOCK:
        small = block // SMALL_BLOCK
        least = distances.unflatten(-1, (small, SMALL_BLOCK)).amin(-1).flatten(-2)
        numbers = _divided(numbers, small)
        places = _in_order(least, numbers).topk(top_k, sorted=False, largest=False).indices
        distances = _at(distances.flatten(-2), places, SMALL_BLOCK)
        numbers = _divided(numbers.gather(-1, places), SMALL_BLOCK)
    smallest = _in_order(distances.flatten(-2), numbers).topk(top_k, largest=False).values
    return Nearest(smallest & LOW, _turned((smallest >> 32).int()).view(torch.float32))


def _turned(bits: Int32[Tensor, "*shape"]) -> Int32[Tensor, "*shape"]:
    """The bits of floats as integers in the same order, and back.

    Integers are found several times faster. No distance is -0, since it is the sum of a square and something.
    """
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _in_order(distances: Int32[Tensor, "*batch n"], numbers: Int64[Tensor, "*numbers n"]) -> Int64[Tensor, "*batch n"]:
    """Integers in the order of distances, and of numbers where these are equal."""
    return torch.add(numbers, distances, alpha=2**32)


def _at(distances: Shaped[Tensor, "*batch n"], places: Int64[Tensor, "*batch top_k"], block: int) -> Tensor:
    """The blocks at the given places, `(*batch, top_k, block)`."""
    rows = torch.arange(places[..., 0].numel(), device=places.device).view(*places.shape[:-1], 1)
    rows = torch.add(places, rows, alpha=distances.shape[-1] // block)
    return distances.reshape(-1, block).index_select(0, rows.flatten()).view(*places.shape, block)


def _divided(numbers: Int64[Tensor, "*batch n"], parts: int) -> Int64[Tensor, "*batch m"]:
    """The numbers of the parts that each block is divided into."""
    return torch.add(torch.arange(parts, device=numbers.device), numbers[..., None], alpha=parts).flatten(-2)
