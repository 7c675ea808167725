"""A gradient past a step that has none."""

from jaxtyping import Float
from torch import Tensor


def straight_through(value: Float[Tensor, "*shape"], source: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`value`, with its own gradient and, in addition, passed unchanged to `source`.

    The selected codes are trained directly, and the encoder before the selection as if the selection were the
    identity (van den Oord et al., 2018).

    Example:
        >>> import torch
        >>> source = torch.tensor([0.3], requires_grad=True)
        >>> straight_through(torch.tensor([1.0]), source).backward()
        >>> source.grad.item()
        1.0
    """
    return value + (source - source.detach())
