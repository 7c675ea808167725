"""Masks that a ledger puts in force, erased rows, and the state in the model's config."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from excise.ledger.ledger import Ledger


def enforce(model: PreTrainedModel, ledger: Ledger) -> None:
    """Makes a ledger a model's own. All is worked out, and may fail, before anything is changed.

    Args:
        model: a model with bottlenecks; the rows of deleted codes, and their gradients, are set to zero in all copies.
        ledger: the requests that are to be in force.

    Raises:
        ValueError: if the ledger names sites or codes that there are not, leaves too few codes, or cannot be saved.
    """
    masks = ledger.live(bottlenecks(model))
    state = ledger.to_dict(masks)
    set_masks(model, masks)
    with torch.no_grad():
        for site, copies in bottleneck_copies(model).items():
            rows = torch.tensor(ledger.removed(site, kinds=("delete",))).long()
            for bottleneck in copies:
                for tensor in (getattr(bottleneck, name) for name in bottleneck.code_tensors):
                    bottleneck.by_code(tensor)[rows] = 0
                    if tensor.grad is not None:
                        bottleneck.by_code(tensor.grad)[rows] = 0
    model.config.unlearning = state


def set_masks(model: PreTrainedModel, masks: Mapping[str, Tensor]) -> None:
    """Sets the mask of every copy of each site's bottleneck."""
    for site, copies in bottleneck_copies(model).items():
        for bottleneck in copies:
            bottleneck.live.copy_(masks[site])
