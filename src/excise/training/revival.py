"""Revival of dead codes: they are put where tokens are."""

import torch
import torch.nn.functional as F
from accelerate.utils import broadcast
from torch import Tensor

from excise.bottlenecks import CodebookSAE
from excise.ledger.optimizers import clear_optimizer_rows


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
