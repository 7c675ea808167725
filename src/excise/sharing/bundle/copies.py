"""Comparison of two models, bit for bit."""

import copy
import os
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from excise.bottlenecks.site import bottleneck_copies
from excise.ledger.embeddings import vocabulary_tables
from excise.ledger.ledger import Ledger
from excise.ledger.masks import enforce


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


def model_to_write(model: PreTrainedModel, mode: str) -> PreTrainedModel:
    """A copy of a model; it has bottlenecks, embeddings and settings of its own, and shares all other weights.

    Args:
        model: it stays as it is.
        mode: with `"delete"`, masks in force are deletions in the copy.
    """
    copies = [bottleneck for of_site in bottleneck_copies(model).values() for bottleneck in of_site]
    own = {id(tensor) for bottleneck in copies for tensor in (*bottleneck.parameters(), *bottleneck.buffers())}
    if mode == "delete":
        own |= {id(table) for table in vocabulary_tables(model).values()}  # rows of which may be erased in the copy
    weights = (*model.parameters(), *model.buffers())
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in weights if id(tensor) not in own})
    _leave_out_paths(copied.config, Ledger.from_dict(model.config.unlearning).is_private)
    if mode == "delete":
        enforce(copied, Ledger.from_dict(model.config.unlearning).as_deletions())
    return copied


def _leave_out_paths(config: PreTrainedConfig, private: bool) -> None:
    """Where a part came from stays in a model's settings if it has a name on the Hub; a folder is nobody's business.

    Nor are, where a request is private, the names of classes that an encoder has no head for.
    """
    for name in config.sub_configs:
        inner = getattr(config, name, None)
        if isinstance(inner, PreTrainedConfig):
            if inner.name_or_path and os.path.isdir(inner.name_or_path):
                inner.name_or_path = ""
            if private:
                names = [f"LABEL_{index}" for index in range(len(inner.id2label or ()))]
                inner.id2label, inner.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
            _leave_out_paths(inner, private)
