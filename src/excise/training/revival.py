"""Codes that nothing selects are put where tokens are; what an optimizer remembers of a code is erased."""

import torch
import torch.nn.functional as F
from accelerate.utils import broadcast
from torch import Tensor, nn

from excise.bottlenecks import Bottleneck, CodebookSAE


@torch.no_grad()
def revive(
    bottleneck: CodebookSAE,
    dead: Tensor,
    features: Tensor,
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Puts dead codes where tokens are, and clears what the optimizer remembers of them.

    A revived code points at a token and is as long as the median of the other live ones. (A token's activation divided
    by S, as codes start, is longer than codes are once they are trained: it would outweigh them.)

    Args:
        bottleneck: it is changed in place.
        dead: ids of the codes, `(dead,)`.
        features: encoded activations to draw from, `(tokens, code_dim)`.
        optimizer: AdamW and the like: rows of every state tensor that is shaped as the codebook are set to zero.
        generator: of the draw.
    """
    drawn = torch.randint(len(features), (len(dead),), generator=generator).to(features.device)
    others = bottleneck.live.clone()
    others[dead] = False
    length = bottleneck.codebook[others].float().norm(dim=1).median() if others.any() else 1.0
    rows = (F.normalize(features[drawn].float(), dim=1) * length).to(bottleneck.codebook)
    bottleneck.codebook[dead] = broadcast(rows)  # every process draws from its own batch: take the first one's
    if optimizer is not None:
        clear_optimizer_rows(optimizer, bottleneck, dead)


@torch.no_grad()
def clear_optimizer_rows(optimizer: torch.optim.Optimizer, bottleneck: Bottleneck, codes: Tensor) -> None:
    """Sets an optimizer's memory of some codes to zero."""
    for parameter in _trained(bottleneck):
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                bottleneck.by_code(value)[codes] = 0


def check_clearable(optimizer: torch.optim.Optimizer, bottleneck: Bottleneck) -> None:
    """Makes sure that `clear_optimizer_rows` will do what it says.

    Raises:
        ValueError: if the optimizer does not train the bottleneck's codes, or what it remembers is quantised.
    """
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for parameter in _trained(bottleneck):
        if id(parameter) not in known:
            raise ValueError("The optimizer does not train this model's codes. Give the one that does, or none.")
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and not value.is_floating_point():
                raise ValueError(f"The optimizer keeps {name!r} as {value.dtype}, in which rows cannot be erased.")


def _trained(bottleneck: Bottleneck) -> list[nn.Parameter]:
    tensors = (getattr(bottleneck, name) for name in bottleneck.code_tensors)
    return [tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]
