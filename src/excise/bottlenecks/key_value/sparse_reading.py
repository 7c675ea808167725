"""Mean of selected values with a sparse gradient, which has the rows that were read and no others."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable


def read_sparsely(
    values: Float[Tensor, "num_codebooks num_pairs value_dim"], pairs: Int64[Tensor, "batch selected"]
) -> Float[Tensor, "batch value_dim"]:
    """The mean of the values of selected pairs; the gradient of the values is a sparse tensor, as of an embedding.

    A batch reads a small part of a large table. The gradient of the table is a tensor as large as the table; in sparse
    form it is as large as what was read, and so are the steps of optimizers that take it: `torch.optim.SparseAdam`, and
    `torch.optim.SGD` without momentum.

    Args:
        values: of all pairs.
        pairs: numbered over all codebooks.

    Example:
        >>> values = torch.ones(2, 3, 1, requires_grad=True)
        >>> read_sparsely(values, torch.tensor([[0, 4]])).sum().backward()
        >>> gradient = values.grad.coalesce()
        >>> gradient.indices().T.tolist(), gradient.values().flatten().tolist()
        ([[0, 0], [1, 1]], [0.5, 0.5])
    """
    return _Read.apply(values, pairs)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, pairs: Tensor) -> Tensor:
        ctx.save_for_backward(pairs)
        ctx.shape = values.shape
        return F.embedding_bag(pairs, values.view(-1, values.shape[-1]), mode="mean")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (pairs,) = ctx.saved_tensors
        of_all, order = pairs.flatten().sort(stable=True)
        rows, counts = torch.unique_consecutive(of_all, return_counts=True)
        # What a pair gets is the sum over the examples that read it: again a bag of rows, those of the gradient.
        examples, first = order // pairs.shape[1], counts.cumsum(0) - counts
        found = F.embedding_bag(examples, gradient / pairs.shape[1], first, mode="sum")
        indices = torch.stack([rows // ctx.shape[1], rows % ctx.shape[1]])
        return torch.sparse_coo_tensor(indices, found, ctx.shape, is_coalesced=True, check_invariants=False), None
