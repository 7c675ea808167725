"""Look-up of the codes most similar to a vector, among live ones (CodeUnlearn, section 3.1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers.utils.generic import maybe_autocast

# Similarities held at once: 8M in fp32 is 32 MiB, whatever the batch and the number of codes.
MAX_SIMILARITIES = 2**23
# Similarities, or blocks of codes at each place, of which the greatest is found first, so that the search for the best
# sees an eighth of all.
GROUP = 8
# Numbers of selected rows that are copied at once: 1M in fp32 are 4 MiB, which stay in a processor's cache.
MAX_ROW_NUMBERS = 2**20
# Codes of a part where the look-up is compiled or exported.
PART = 4096


@torch.no_grad()
def top_codes(
    queries: Float[Tensor, "tokens dim"],
    codebook: Float[Tensor, "num_codes dim"],
    top_s: int,
    live: Bool[Tensor, "num_codes"],
    max_similarities: int = MAX_SIMILARITIES,
) -> tuple[Int64[Tensor, "tokens top_s"], Float[Tensor, "tokens top_s"]]:
    """The `top_s` live codes most similar to each query, best first, and their cosines (eqs. 1 and 2).

    Similarities are computed in fp32 whatever the inputs' dtype (bf16 changes up to 2 % of the selections) and in
    chunks of queries, so that no more than `max_similarities` of them exist at a time. Compiled or exported, it goes
    through parts of the codebook instead: their number does not depend on the batch, whose size may then be any.

    Args:
        queries: activations to look up.
        codebook: one code vector a row.
        top_s: how many codes to select; at most the number of live codes.
        live: False for codes that are masked or deleted. Those have similarity -inf, zeroed rows included.
        max_similarities: bound on the similarities held at once, where it is not compiled.

    Example:
        >>> codebook = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> codes, similarities = top_codes(torch.tensor([[3.0, 4.0]]), codebook, 2, torch.tensor([True, True, False]))
        >>> codes.tolist(), similarities.tolist()
        ([[1, 0]], [[0.800000011920929, 0.6000000238418579]])
    """
    with maybe_autocast(queries.device.type, enabled=False):
        queries, codebook = queries.float(), codebook.float()
        # A code or query of norm zero has similarity 0 with all, and so has one that is not finite.
        tiny = torch.finfo(torch.float32).tiny
        queries = queries / torch.linalg.vector_norm(queries, dim=1, keepdim=True).clamp_min(tiny)
        queries = queries.nan_to_num_(0.0, 0.0, 0.0)
        lengths = torch.linalg.vector_norm(codebook, dim=1)
        if not torch.compiler.is_compiling() and has_numbers(lengths) and not lengths.isfinite().all():
            codebook = codebook.masked_fill(~lengths.isfinite()[:, None], 0)
        weight = lengths.nan_to_num(0.0, 0.0, 0.0).clamp_min(tiny).reciprocal()
        # Adding -inf takes a tenth of the time of masked_fill_.
        removed = torch.zeros_like(weight).masked_fill_(~live, float("-inf"))
        if torch.compiler.is_compiling():
            return _top_of_parts(queries, codebook, weight, removed, top_s)
        rows = max(1, max_similarities // len(codebook))
        # One matrix for all chunks: a new one would be made while the last one is still there.
        in_groups = -(-len(codebook) // GROUP)
        matrix = codebook.new_full((min(rows, len(queries)), GROUP * in_groups), float("-inf"))
        codes, cosines = [], []
        for chunk in queries.split(rows):
            similarities = matrix[: len(chunk), : len(codebook)]
            torch.addmm(similarities, chunk, codebook.T, beta=0, out=similarities)
            torch.addcmul(removed, similarities, weight, out=similarities)
            best = _best_of_groups(matrix[: len(chunk)].view(-1, GROUP, in_groups), top_s)
            codes.append(best[1])
            cosines.append(best[0])
    return torch.cat(codes), torch.cat(cosines)


def _best_of_groups(
    similarities: Float[Tensor, "tokens group groups"], top_s: int
) -> tuple[Float[Tensor, "tokens top_s"], Int64[Tensor, "tokens top_s"]]:
    """The greatest similarities and their codes: they are in the groups that have the greatest."""
    _, group, groups = similarities.shape
    chosen = similarities.amax(1).topk(min(top_s, groups), dim=1).indices
    in_chosen = similarities.gather(2, chosen[:, None].expand(-1, group, -1)).flatten(1)
    best = in_chosen.topk(top_s, dim=1)
    members, places = best.indices // chosen.shape[1], best.indices % chosen.shape[1]
    return best.values, members * groups + chosen.gather(1, places)


def _top_of_parts(
    queries: Float[Tensor, "tokens dim"],
    codebook: Float[Tensor, "num_codes dim"],
    weight: Float[Tensor, "num_codes"],
    removed: Float[Tensor, "num_codes"],
    top_s: int,
) -> tuple[Int64[Tensor, "tokens top_s"], Float[Tensor, "tokens top_s"]]:
    """`top_codes`, the best of each part and then the best of these, for batches of any size in one graph."""
    values, indices = [], []
    for start in range(0, len(codebook), PART):
        part = slice(start, start + PART)
        similarities = queries @ codebook[part].T * weight[part] + removed[part]
        best = similarities.topk(min(top_s, similarities.shape[1]), dim=1)
        values.append(best.values)
        indices.append(best.indices + start)
    best = torch.cat(values, dim=1).topk(top_s, dim=1)
    return torch.cat(indices, dim=1).gather(1, best.indices), best.values


def has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor has memory of its own, and what is done with it is not recorded for others."""
    try:
        return not tensor.is_meta and not torch.jit.is_tracing() and tensor.data_ptr() != 0
    except RuntimeError:  # fake tensors, and those that `torch.func` wraps
        return False


def sum_of_codes(
    codes: Int64[Tensor, "tokens top_s"], codebook: Float[Tensor, "num_codes dim"]
) -> tuple[Float[Tensor, "tokens dim"], Float[Tensor, "tokens"]]:
    """The sum of the selected code vectors (eq. 3), and the sum of their L1 norms (eq. 7); -1 adds nothing.

    Only selected rows are read, and only they get a gradient. It is one table of the codebook's size, which is written
    once; the same gradient every time, on a GPU too.

    Example:
        >>> sums, norms = sum_of_codes(torch.tensor([[0, 1], [1, -1]]), torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
        >>> sums.tolist(), norms.tolist()
        ([[1.0, -2.0], [0.0, -2.0]], [3.0, 2.0])
    """
    # Where it is not known which codes are selected.
    if torch.compiler.is_compiling() or not (has_numbers(codes) and has_numbers(codebook)):
        weights = (codes >= 0).to(codebook.dtype)
        norms = torch.linalg.vector_norm(codebook, 1, dim=1, dtype=torch.float32)[codes.clamp_min(0)]
        sums = F.embedding_bag(codes.clamp_min(0), codebook, mode="sum", per_sample_weights=weights)
        return sums, norms.masked_fill(codes < 0, 0).sum(1)
    return _SumOfCodes.apply(codes, codebook)


class _SumOfCodes(torch.autograd.Function):
    @staticmethod
    def forward(codes, codebook):
        weights = (codes >= 0).to(codebook.dtype)
        sums = F.embedding_bag(codes.clamp_min(0), codebook, mode="sum", per_sample_weights=weights)
        selected, places = codes.clamp_min(0).unique(return_inverse=True)
        norms = torch.empty(len(selected), dtype=torch.float32, device=codebook.device)
        rows = max(1, MAX_ROW_NUMBERS // codebook.shape[1])
        for some, of_some in zip(selected.split(rows), norms.split(rows), strict=True):
            torch.sum(codebook.index_select(0, some).float().abs_(), dim=1, out=of_some)
        return sums, norms[places].masked_fill_(codes < 0, 0).sum(1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, of_sums, of_norms):
        codes, codebook = ctx.saved_tensors
        gradient = torch.zeros_like(codebook)
        # The tokens that select a code are brought together and summed: nothing is added to the table piece by piece.
        codes_in_order, order = codes.flatten().sort(stable=True)
        tokens, codes_in_order = (order // codes.shape[1])[codes_in_order >= 0], codes_in_order[codes_in_order >= 0]
        selected, counts = codes_in_order.unique_consecutive(return_counts=True)
        rows = max(1, MAX_ROW_NUMBERS // codebook.shape[1])
        parts = zip(selected.split(rows), counts.split(rows), strict=True)
        for some, of_some in parts:
            these, tokens = tokens.tensor_split([int(of_some.sum())])
            of_rows, of_signs = (
                F.embedding_bag(these, of_tokens, of_some.cumsum(0) - of_some, mode="sum").to(gradient.dtype)
                for of_tokens in (of_sums.contiguous(), of_norms[:, None].contiguous())
            )
            gradient.index_copy_(0, some, of_rows.addcmul_(codebook.index_select(0, some).sign_(), of_signs))
        return None, gradient
