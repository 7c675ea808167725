"""Whether two models are the same, bit for bit."""

from collections.abc import Mapping

import torch
from torch import Tensor


def differences(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that are not the same in two states, or only in one of them."""
    return sorted(
        name
        for name in state.keys() | other.keys()
        if name not in state or name not in other or not _same(state[name], other[name])
    )


def _same(tensor: Tensor, other: Tensor) -> bool:
    if tensor.dtype != other.dtype or tensor.shape != other.shape:
        return False
    # As bytes: NaN is not NaN, and zero has two signs.
    return torch.equal(_as_bytes(tensor), _as_bytes(other))


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
