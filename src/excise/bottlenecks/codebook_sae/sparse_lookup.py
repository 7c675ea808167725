"""Look-up of codes by the few active units of a sparse encoder: the product with all codes, without its zeros."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary, ref

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn
from transformers.utils.generic import maybe_autocast

from excise.bottlenecks.codebook_sae.lookup import GROUP, has_numbers

# Codes of a block of the prepared codebook: 128 of them, 2,048 wide, fill the 1 MiB of cache that a core has.
BLOCK = 128
# Sums held at once, and what says of which numbers they are sums: 12 MiB.
MAX_NUMBERS = 3 * 2**20
# Codes whose products with gain and bias are made at once.
CODES_AT_ONCE = 2**12
# Tokens looked up at once, so that a part of the blocks has many more codes than are selected.
MAX_TOKENS = 512
# Bytes; 32 MiB is the most that it takes for such a size.
KEPT_BY_GLIBC = 31 * 2**20
# Blocks gone through at once where the look-up is compiled or exported, for any number of tokens.
COMPILED_BLOCKS = 4 * GROUP
# A processor looks up by active units where they are at most this share of all (benchmarks/README.md).
MAX_ACTIVE = 1 / 8
# Tokens from which on it does so in a step of training, and in a compiled pass.
MIN_TOKENS, MIN_COMPILED_TOKENS = 64, 512

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
    """A codebook as the sparse look-up reads it: in blocks of codes, unit by unit.

    Args:
        blocks: fp32 `(blocks, code_dim + 2, BLOCK)`, as many bytes as the codebook in fp32. The last two rows are the
            codes' products with the layer norm's gain and with its bias. What fills the last block up is 0.
        scale: one over the codes' lengths, fp32 `(blocks, 1, BLOCK)`.
        removed: -inf for codes that are not live and for what fills up, 0 for others, fp32 `(blocks, 1, BLOCK)`.
        live: what is live, bool `(num_codes,)`.
        of: the codebook that it was made of.
        version: of that codebook.
        numbers: some of the codebook's, and all of the layer norm's.
    """

    blocks: Tensor
    scale: Tensor
    removed: Tensor
    live: Tensor
    of: "ref[Tensor] | None" = None
    version: tuple[object, ...] = ()
    numbers: Tensor | None = None


@torch.no_grad()
def prepared_codebook(
    codebook: Float[Tensor, "num_codes code_dim"], layer_norm: nn.LayerNorm, live: Bool[Tensor, "num_codes"]
) -> PreparedCodebook:
    """A codebook, prepared: what is kept of the last time, if it is still right; its memory is used again if not.

    Optimizers and loading raise the version of a tensor. What is written through `.data` does not: two numbers of each
    code, its first one and one in the middle, are compared as well, and what changes neither is not seen. Where it is
    compiled or exported nothing is kept.
    """
    if torch.compiler.is_compiling():
        with maybe_autocast(codebook.device.type, enabled=False):
            blocks, scale = _blocks(codebook, layer_norm, None)
        return PreparedCodebook(blocks, scale, _removed(live, scale), live)
    # What is kept is used outside of inference mode and of autocast as well.
    with torch.inference_mode(False), torch.no_grad(), maybe_autocast(codebook.device.type, enabled=False):
        return _kept(codebook, layer_norm, live)


def _kept(codebook: Tensor, layer_norm: nn.LayerNorm, live: Tensor) -> PreparedCodebook:
    # A tensor made in inference mode has no version: it is never taken for what it was.
    version = codebook.data_ptr(), object() if codebook.is_inference() else codebook._version
    some = codebook[:, :: max(1, codebook.shape[1] // 2)].flatten().float()
    numbers = torch.cat([some, layer_norm.weight.float(), layer_norm.bias.float()])
    kept = _prepared.get(layer_norm)
    if kept is not None and (kept.of is None or kept.of() is not codebook):
        kept = None
    if kept is None or kept.version != version or not torch.equal(cast(Tensor, kept.numbers), numbers):
        drop_prepared(layer_norm)  # so that no other thread takes it while it is written over
        blocks, scale = _blocks(codebook, layer_norm, None if kept is None else kept.blocks)
        kept = PreparedCodebook(blocks, scale, _removed(live, scale), live.clone(), ref(codebook), version, numbers)
    elif not torch.equal(kept.live, live):
        kept = replace(kept, removed=_removed(live, kept.scale), live=live.clone())
    _prepared[layer_norm] = kept
    return kept


def drop_prepared(layer_norm: nn.LayerNorm) -> None:
    """Forgets what is kept of a codebook, as when codes were erased from it."""
    _prepared.pop(layer_norm, None)


def can_be_prepared(codebook: Tensor, layer_norm: nn.Module) -> bool:
    """Whether a codebook has numbers to read here, and the layer norm does nothing but what a layer norm does.

    Not so of what is on another device until its own pass (accelerate's hooks), of tensors that stand for others (of
    `torch.func`, fake ones, a trace), and of a layer norm with an adapter, a hook or a parametrization.
    """
    if type(layer_norm) is not nn.LayerNorm or "forward" in vars(layer_norm) or layer_norm.weight.is_meta:
        return False
    if layer_norm._forward_hooks or layer_norm._forward_pre_hooks or layer_norm.bias is None:
        return False
    return torch.compiler.is_compiling() or has_numbers(codebook)


def _removed(live: Tensor, scale: Tensor) -> Tensor:
    filled_up = scale.numel() - live.shape[0]
    return torch.where(F.pad(live, (0, filled_up)), 0.0, float("-inf")).view(scale.shape)


def _blocks(codebook: Tensor, layer_norm: nn.LayerNorm, memory: Tensor | None) -> tuple[Tensor, Tensor]:
    num_codes, width = codebook.shape
    group = min(GROUP, -(-num_codes // BLOCK))
    count = -(-num_codes // BLOCK // group) * group
    lengths = torch.linalg.vector_norm(
        codebook, dim=1, dtype=torch.promote_types(codebook.dtype, torch.float32)
    ).float()
    scale = lengths.clamp_min(torch.finfo(torch.float32).tiny).reciprocal()
    affine = torch.stack([layer_norm.weight, layer_norm.bias], 1).float()
    on_affine = torch.cat([codes.float() @ affine for codes in codebook.split(CODES_AT_ONCE)]).T

    def in_blocks(by_code: Tensor) -> Tensor:
        padded = F.pad(by_code, (0, count * BLOCK - num_codes))
        return padded.reshape(-1, count, BLOCK).transpose(0, 1)

    scale = in_blocks(scale).contiguous()
    if torch.compiler.is_compiling():
        return torch.cat([in_blocks(codebook.float().T.contiguous()), in_blocks(on_affine)], 1), scale
    shape = (count, width + 2, BLOCK)
    if memory is None or memory.shape != shape or memory.device != codebook.device:
        memory = codebook.new_zeros(shape, dtype=torch.float32)
        # From now on glibc keeps what is given back in pieces up to this size, and does not ask the system for it anew,
        # page by page, which takes as long as the sums themselves.
        torch.empty(KEPT_BY_GLIBC, dtype=torch.uint8)
    blocks = memory
    blocks[:, width:] = in_blocks(on_affine)

    @torch.no_grad()
    def turn(block: Tensor, codes: Tensor) -> None:
        block[:width, : len(codes)] = codes.T
        block[:width, len(codes) :] = 0  # of codes that there were before, when it was larger

    # A core turns one block after the other, within its cache; of one block it would turn all.
    in_turn = blocks, codebook.split(BLOCK)
    try:
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(turn, *in_turn))
    except RuntimeError:  # an interpreter that is about to end starts no thread
        list(map(turn, *in_turn))
    return blocks, scale


@torch.no_grad()
def top_codes_of_units(
    units: ActiveUnits, codebook: PreparedCodebook, layer_norm: nn.LayerNorm, top_s: int
) -> tuple[Int64[Tensor, "tokens top_s"], Float[Tensor, "tokens top_s"]]:
    """The `top_s` live codes most similar to each token, and their cosines: those that `top_codes` finds for them.

    With few active units, the layer norm is a sparse vector, minus a constant times its gain, plus its bias. So the
    product with a code needs the code at the active units, and two numbers that are the same for all tokens. Sums are
    in fp32 whatever the dtype of the units, and no more than `MAX_NUMBERS` exist at a time, with what says of what they
    are sums, where it is not compiled. What is not finite is similar to nothing.

    Args:
        units: of the tokens.
        codebook: whose codes are looked up.
        layer_norm: that the units go through.
        top_s: how many codes to select; at most the number of live codes.
    """
    with maybe_autocast(units.values.device.type, enabled=False):
        if torch.compiler.is_compiling():
            terms, at_once = [_terms(units, layer_norm)], COMPILED_BLOCKS
        else:
            chunks = -(-len(units.values) // MAX_TOKENS) or 1
            chunked = zip(units.values.chunk(chunks), units.places.chunk(chunks), strict=True)
            terms = [_terms(ActiveUnits(*chunk, units.width), layer_norm) for chunk in chunked]
            rows = terms[0][0]
            at_once = MAX_NUMBERS // (max(1, len(rows)) * (BLOCK + 2 * rows.shape[1]))
        group = min(GROUP, codebook.blocks.shape[0])
        at_once = max(1, at_once // group) * group
        lengths = torch.cat([of_some[2] for of_some in terms])
        values, codes = lengths[:, :0], units.places[:, :0]
        # Part by part of the codebook, so that each is read once; the best so far and the best of a part are merged.
        parts = zip(*(part.split(at_once) for part in (codebook.blocks, codebook.scale, codebook.removed)), strict=True)
        for i, (blocks, scale, removed) in enumerate(parts):
            best = [_best_of_part(*some[:2], blocks, scale, removed, group, top_s) for some in terms]
            values = torch.cat([values, torch.cat([of_some[0] for of_some in best])], 1)
            codes = torch.cat([codes, torch.cat([of_some[1] for of_some in best]) + i * at_once * BLOCK], 1)
            values, where = values.topk(min(top_s, values.shape[1]), dim=1)
            codes = codes.gather(1, where)
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


def _best_of_part(
    rows: Tensor, weights: Tensor, blocks: Tensor, scale: Tensor, removed: Tensor, group: int, top_s: int
) -> tuple[Float[Tensor, "tokens best"], Int64[Tensor, "tokens best"]]:
    """The best codes of some blocks, or all of them if they are fewer; `group` divides the number of blocks."""
    (count, height, _), (tokens, terms) = blocks.shape, rows.shape
    starts = torch.arange(count, dtype=rows.dtype, device=rows.device) * height
    sums = F.embedding_bag(
        (rows + starts[:, None, None]).flatten(),
        blocks.reshape(-1, BLOCK),
        torch.arange(count * tokens, dtype=rows.dtype, device=rows.device) * terms,
        mode="sum",
        per_sample_weights=weights.expand(count, tokens, terms).flatten(),
    ).view(count, tokens, BLOCK)
    least, greatest = torch.finfo(sums.dtype).min, torch.finfo(sums.dtype).max
    sums = sums.mul_(scale).nan_to_num_(least, greatest, least).add_(removed).unflatten(0, (-1, group))
    # The best codes are in the groups that have the best codes.
    groups = sums.amax(1).transpose(0, 1).flatten(1)
    chosen = groups.topk(min(top_s, groups.shape[1]), dim=1).indices
    token = torch.arange(tokens, device=rows.device)[:, None]
    in_chosen = sums[chosen // BLOCK, :, token, chosen % BLOCK].flatten(1)
    best = in_chosen.topk(min(top_s, in_chosen.shape[1]), dim=1)
    chosen = chosen.gather(1, best.indices // group)
    return best.values, (chosen // BLOCK * group + best.indices % group) * BLOCK + chosen % BLOCK
