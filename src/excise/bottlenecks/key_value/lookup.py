"""Look-up of the live keys nearest to a head (Unlearning via Sparse Representations, section 3)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformers.utils.generic import maybe_autocast

# Distances held at once: 1M in fp32 is 4 MiB, which stays in a processor's cache.
MAX_DISTANCES = 2**20
# Keys a block of the two-step search; codebooks of a multiple of it are searched so.
BLOCK = 64
# Keys of the codebooks that are gone through at once where the look-up is compiled or exported.
PART = 2**16


class Nearest(NamedTuple):
    """Selected keys.

    Args:
        keys: int64 `(batch, num_codebooks, top_k)`, indices within each codebook, nearest first.
        distances: float32 of the same shape, squared Euclidean.
    """

    keys: Tensor
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

    No more than `max_distances` distances exist at a time (but all of one head to one codebook). A removed key is
    infinitely far away, so that the next nearest is selected instead (section 4, "Inference for Unlearning"). Compiled
    or exported, it goes through a few codebooks at a time, for all heads: the size of the batch may then be any.

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
        # The head's own length does not change the order.
        offsets = keys.square().sum(-1).masked_fill(~live, float("inf"))
        if torch.compiler.is_compiling():
            return _nearest_of_parts(heads, keys, offsets, top_k)
        found = torch.empty(*heads.shape[:2], top_k, dtype=torch.int64, device=heads.device)
        distances = torch.empty(found.shape, device=heads.device)
        rows = max(1, max_distances // keys.shape[1])
        for codebook in range(len(keys)):
            for start in range(0, len(heads), rows):
                part = heads[start : start + rows, codebook]
                to_keys = torch.addmm(offsets[codebook], part, keys[codebook].T, alpha=-2)
                best = _smallest(to_keys, top_k)
                found[start : start + rows, codebook] = best
                distances[start : start + rows, codebook] = to_keys.gather(1, best)
        distances += heads.square().sum(-1, keepdim=True)
    return Nearest(found, distances.clamp_min_(0))  # rounding can bring a distance of zero below it


def _nearest_of_parts(
    heads: Float[Tensor, "batch num_codebooks key_dim"],
    keys: Float[Tensor, "num_codebooks num_pairs key_dim"],
    offsets: Float[Tensor, "num_codebooks num_pairs"],
    top_k: int,
) -> Nearest:
    """`nearest_keys`, some codebooks at a time, for batches of any size in one graph."""
    found, distances = [], []
    for part in zip(
        *(x.split(max(1, PART // keys.shape[1])) for x in (heads.transpose(0, 1), keys, offsets)), strict=True
    ):
        to_keys = torch.baddbmm(part[2][:, None], part[0], part[1].transpose(1, 2), alpha=-2)
        found.append(_smallest(to_keys, top_k))
        distances.append(to_keys.gather(-1, found[-1]))
    smallest = torch.cat(distances).transpose(0, 1) + heads.square().sum(-1, keepdim=True)
    return Nearest(torch.cat(found).transpose(0, 1), smallest.clamp_min(0))


def _smallest(distances: Float[Tensor, "*batch num_pairs"], top_k: int) -> Int64[Tensor, "*batch top_k"]:
    """Where the smallest of each row are, in order.

    A minimum without its place takes a fraction of the time of one with it. So for the nearest key alone, the least
    distance of each block is found first, then the first block that has it, then the place in it: of equal ones it is
    the first, wherever that stands.
    """
    if top_k > 1:
        return distances.topk(top_k, largest=False).indices
    if distances.shape[1] % BLOCK:
        return distances.argmin(-1, keepdim=True)
    blocks = distances.unflatten(-1, (-1, BLOCK))
    block = blocks.amin(-1).argmin(-1, keepdim=True)
    nearest = blocks.gather(-2, block[..., None].expand(*block.shape, BLOCK))
    place = nearest.squeeze(-2).argmin(-1, keepdim=True)
    return block * BLOCK + place
