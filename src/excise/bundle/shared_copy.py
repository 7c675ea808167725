"""The model that is written: the one in memory stays as it is."""

import copy

from transformers import PreTrainedModel

from excise.enforcement import enforce
from excise.ledger import Ledger
from excise.models.site import bottleneck_copies


def model_to_write(model: PreTrainedModel, mode: str) -> PreTrainedModel:
    """A copy of a model; it has bottlenecks and settings of its own, and shares all other weights.

    Args:
        model: it stays as it is.
        mode: with `"delete"`, masks in force are deletions in the copy.
    """
    copies = [bottleneck for of_site in bottleneck_copies(model).values() for bottleneck in of_site]
    own = {id(tensor) for bottleneck in copies for tensor in (*bottleneck.parameters(), *bottleneck.buffers())}
    weights = (*model.parameters(), *model.buffers())
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in weights if id(tensor) not in own})
    if mode == "delete":
        enforce(copied, Ledger.from_dict(model.config.unlearning).as_deletions())
    return copied
