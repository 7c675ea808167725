"""Optimizer state of erased codes, cleared with the rows: it would bring them back at the next step."""

import torch
from torch import Tensor, nn

from excise.bottlenecks.base import Bottleneck


@torch.no_grad()
def clear_optimizer_rows(optimizer: torch.optim.Optimizer, bottleneck: Bottleneck, codes: Tensor) -> None:
    """Sets an optimizer's memory of some codes to zero."""
    for parameter in code_parameters(bottleneck):
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                bottleneck.by_code(value)[codes] = 0


def check_clearable(optimizer: torch.optim.Optimizer, bottleneck: Bottleneck) -> None:
    """Makes sure that `clear_optimizer_rows` will do what it says.

    Raises:
        ValueError: if the optimizer does not train the bottleneck's codes, or what it remembers is quantised.
    """
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for parameter in code_parameters(bottleneck):
        if id(parameter) not in known:
            raise ValueError("The optimizer does not train this model's codes. Give the one that does, or none.")
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and not value.is_floating_point():
                raise ValueError(f"The optimizer keeps {name!r} as {value.dtype}, in which rows cannot be erased.")


def code_parameters(bottleneck: Bottleneck) -> list[nn.Parameter]:
    """The parameters of a bottleneck that hold something of each code, and that an optimizer trains."""
    tensors = (getattr(bottleneck, name) for name in bottleneck.code_tensors)
    return [tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]
