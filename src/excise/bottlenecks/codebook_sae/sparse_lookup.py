"""Look-up of codes by the few active units of a sparse encoder: the product with all codes, without its zeros."""

from dataclasses import dataclass
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn
from transformers.utils.generic import maybe_autocast

# Codes of a block of the prepared codebook: 128 of them, 2,048 wide, fill the 1 MiB of cache that a core has.
BLOCK = 128
# Blocks of which the best code at each place is found first, so that the search for the best sees an eighth of all.
GROUP = 8
# Sums held at once: 4M in fp32 are 16 MiB; what says which numbers they are sums of takes half as much again.
MAX_SUMS = 2**22
# Tokens looked up at once, so that a part of the blocks has many more codes than are selected.
MAX_TOKENS = 640
# Blocks gone through at once where the look-up is compiled or exported, for any number of tokens.
COMPILED_BLOCKS = 4 * GROUP
# A processor looks up by active units where they are at most this share of all (benchmarks/README.md).
MAX_ACTIVE = 1 / 8
# Tokens from which on it does so in a step of training.
MIN_TOKENS = 64

# By codebook, as prepared: beside the modules, so that it is neither saved, nor copied, nor sent to other processes.
_prepared: WeakKeyDictionary[nn.LayerNorm, "PreparedCodebook"] = WeakKeyDictionary()


class ActiveUnits(NamedTuple):
    """The units of a sparse autoencoder that are active for each token.

    Args:
        values: `(tokens, active)`, at least 0.
        places: int64 of the same shape, which units they are, each once a token.
        width: number of units.
    """

    values: Tensor
    places: Tensor
    width: int

    def dense(self) -> Float[Tensor, "*tokens width"]:
        """All units, 0 where they are not active."""
        return self.values.new_zeros((*self.values.shape[:-1], self.width)).scatter(-1, self.places, self.values)

    def at(self, tokens: Bool[Tensor, "*tokens"]) -> "ActiveUnits":
        """The units of some tokens."""
        return ActiveUnits(self.values[tokens], self.places[tokens], self.width)

    def flat(self) -> "ActiveUnits":
        """The units, tokens one after the other."""
        return ActiveUnits(self.values.flatten(0, -2), self.places.flatten(0, -2), self.width)


@dataclass
class PreparedCodebook:
    """A codebook as the sparse look-up reads it: in blocks of codes, unit by unit, codes brought to length 1.

    Args:
        blocks: fp32 `(blocks, code_dim + 2, BLOCK)`, as many bytes as the codebook in fp32. The last two rows are the
            codes' products with the layer norm's gain and with its bias; to the latter -inf is added for what is not
            live, and for what fills the last block up.
        on_bias: fp32 `(blocks, BLOCK)`, the last row before anything is added.
        live: what is live in `blocks`, bool `(num_codes,)`; `None` before the first time.
        version: of the codebook that it was made of.
        numbers: some of the codebook's, and all of the layer norm's.
    """

    blocks: Tensor
    on_bias: Tensor
    live: Tensor | None = None
    version: tuple[object, ...] = ()
    numbers: Tensor | None = None

    def remove(self, live: Tensor) -> None:
        """Takes codes that are not live out, and others in again."""
        removed = torch.full_like(self.on_bias, float("-inf"))
        removed.view(-1)[: len(live)].masked_fill_(live, 0)
        self.blocks[:, -1] = self.on_bias + removed
        self.live = live.clone()


@torch.no_grad()
def prepared_codebook(
    codebook: Float[Tensor, "num_codes code_dim"], layer_norm: nn.LayerNorm, live: Bool[Tensor, "num_codes"]
) -> PreparedCodebook:
    """A codebook, prepared: what is kept of the last time, if it is still right; its memory is used again if not.

    Optimizers and loading raise the version of a tensor. What is written through `.data` does not: two numbers of each
    code are compared as well. Where it is compiled or exported nothing is kept.
    """
    if torch.compiler.is_compiling():
        found = PreparedCodebook(*_blocks(codebook, layer_norm, None))
        found.remove(live)
        return found
    # A tensor made in inference mode has no version: it is never taken for what it was.
    version = id(codebook), codebook.data_ptr(), object() if codebook.is_inference() else codebook._version
    some = codebook[:, :: max(1, codebook.shape[1] // 2)].flatten().float()
    numbers = torch.cat([some, layer_norm.weight.float(), layer_norm.bias.float()])
    kept = _prepared.get(layer_norm)
    right = kept is not None and kept.version == version and torch.equal(cast(Tensor, kept.numbers), numbers)
    if kept is not None and right and torch.equal(cast(Tensor, kept.live), live):
        return kept
    _prepared.pop(layer_norm, None)  # so that no other thread takes it while it is written over
    if kept is None or not right:
        blocks = _blocks(codebook, layer_norm, None if kept is None else kept.blocks)
        kept = PreparedCodebook(*blocks, version=version, numbers=numbers)
    kept.remove(live)
    _prepared[layer_norm] = kept
    return kept


def _blocks(codebook: Tensor, layer_norm: nn.LayerNorm, memory: Tensor | None) -> tuple[Tensor, Tensor]:
    num_codes, width = codebook.shape
    group = min(GROUP, -(-num_codes // BLOCK))
    shape = (-(-num_codes // BLOCK // group) * group, width + 2, BLOCK)
    weight = torch.linalg.vector_norm(codebook, dim=1, dtype=torch.float32)
    weight = weight.clamp_min(torch.finfo(torch.float32).tiny).reciprocal()
    affine = torch.stack([layer_norm.weight, layer_norm.bias]).float()
    if torch.compiler.is_compiling():
        units = F.pad((codebook.float() * weight[:, None]).T, (0, shape[0] * BLOCK - num_codes))
        rows = torch.cat([units, affine @ units]).unflatten(1, (shape[0], BLOCK)).transpose(0, 1).contiguous()
        return rows, rows[:, -1].clone()
    blocks = memory if memory is not None and memory.shape == shape else codebook.new_zeros(shape, dtype=torch.float32)
    # Block by block: a scaled copy of the whole codebook would take longer than all the rest.
    for block, codes, weights in zip(blocks, codebook.split(BLOCK), weight.split(BLOCK), strict=False):
        units = codes.float().T * weights
        block[:width, : len(codes)] = units
        block[width:, : len(codes)] = affine @ units
    return blocks, blocks[:, -1].clone()


@torch.no_grad()
def top_codes_of_units(
    units: ActiveUnits, codebook: PreparedCodebook, layer_norm: nn.LayerNorm, top_s: int
) -> tuple[Int64[Tensor, "tokens top_s"], Float[Tensor, "tokens top_s"]]:
    """The `top_s` live codes most similar to each token, and their cosines: those that `top_codes` finds for them.

    With few active units, the layer norm is a sparse vector, minus a constant times its gain, plus its bias. So the
    product with a code needs the code at the active units, and two numbers that are the same for all tokens. Sums are
    in fp32 whatever the dtype of the units, and no more than `MAX_SUMS` exist at a time, where it is not compiled.

    Args:
        units: of the tokens.
        codebook: whose codes are looked up.
        layer_norm: that the units go through.
        top_s: how many codes to select; at most the number of live codes.
    """
    blocks = codebook.blocks
    with maybe_autocast(units.values.device.type, enabled=False):
        rows, weights, lengths = _terms(units, layer_norm)
        if torch.compiler.is_compiling():
            values, codes = _best(rows, weights, blocks, COMPILED_BLOCKS, top_s)
        else:
            count = -(-len(rows) // MAX_TOKENS) or 1
            at_once = MAX_SUMS // (BLOCK * max(1, -(-len(rows) // count)))
            parts = zip(rows.chunk(count), weights.chunk(count), strict=True)
            values, codes = map(torch.cat, zip(*(_best(*part, blocks, at_once, top_s) for part in parts), strict=True))
        return codes, values / lengths


def _terms(
    units: ActiveUnits, layer_norm: nn.LayerNorm
) -> tuple[Int[Tensor, "tokens terms"], Float[Tensor, "tokens terms"], Float[Tensor, "tokens 1"]]:
    """What the layer norm's product with a code is a sum of, and the layer norm's length.

    Returns:
        Rows of a block, their weights in the sum, and lengths.
    """
    # In fp64: there are few of these numbers, and in their sums most cancels.
    values, gain, bias = units.values.double(), layer_norm.weight.double(), layer_norm.bias.double()
    mean = values.sum(1, keepdim=True) / units.width
    inactive = (units.width - values.shape[1]) * mean.square()
    variance = ((values - mean).square().sum(1, keepdim=True) + inactive) / units.width
    scale = (variance + layer_norm.eps).rsqrt()
    weights, shift = values * scale * gain[units.places], mean * scale
    # Its square is that of `bias - shift * gain`, where no unit is active, and what each active one changes of that.
    of_none = (gain.square().sum() * shift - 2 * (gain @ bias)) * shift + bias.square().sum()
    of_active = weights * (weights + 2 * (bias[units.places] - shift * gain[units.places]))
    squared = (of_none + of_active.sum(1, keepdim=True)).float()
    lengths = squared.clamp_min(0).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    last = units.places.new_tensor([units.width, units.width + 1]).expand(values.shape[0], 2)
    rows = torch.cat([units.places, last], 1).int()
    return rows, torch.cat([weights, -shift, torch.ones_like(shift)], 1).float(), lengths


def _best(
    rows: Tensor, weights: Tensor, blocks: Tensor, at_once: int, top_s: int
) -> tuple[Float[Tensor, "tokens top_s"], Int64[Tensor, "tokens top_s"]]:
    """The best codes of some blocks at a time, and then the best of these."""
    group = min(GROUP, len(blocks))
    at_once = max(1, at_once // group) * group
    values, codes = [], []
    for start in range(0, len(blocks), at_once):
        of_part = _best_of_part(rows, weights, blocks[start : start + at_once], group, top_s)
        values.append(of_part[0])
        codes.append(of_part[1] + start * BLOCK)
    best = torch.cat(values, 1).topk(top_s, dim=1)
    return best.values, torch.cat(codes, 1).gather(1, best.indices)


def _best_of_part(
    rows: Tensor, weights: Tensor, blocks: Tensor, group: int, top_s: int
) -> tuple[Float[Tensor, "tokens best"], Int64[Tensor, "tokens best"]]:
    """The best codes of some blocks, or all of them if they are fewer."""
    (count, height, _), (tokens, terms) = blocks.shape, rows.shape
    starts = torch.arange(count, dtype=rows.dtype, device=rows.device) * height
    sums = F.embedding_bag(
        (rows + starts[:, None, None]).flatten(),
        blocks.reshape(-1, BLOCK),
        torch.arange(count * tokens, dtype=rows.dtype, device=rows.device) * terms,
        mode="sum",
        per_sample_weights=weights.expand(count, tokens, terms).flatten(),
    ).view(count // group, group, tokens, BLOCK)
    # The best codes are in the groups that have the best codes.
    groups = sums.amax(1).transpose(0, 1).flatten(1)
    chosen = groups.topk(min(top_s, groups.shape[1]), dim=1).indices
    token = torch.arange(tokens, device=rows.device)[:, None]
    in_chosen = sums[chosen // BLOCK, :, token, chosen % BLOCK].flatten(1)
    best = in_chosen.topk(min(top_s, in_chosen.shape[1]), dim=1)
    chosen = chosen.gather(1, best.indices // group)
    return best.values, (chosen // BLOCK * group + best.indices % group) * BLOCK + chosen % BLOCK
