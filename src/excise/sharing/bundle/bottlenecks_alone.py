"""Bottlenecks shared without the rest of their model."""

import copy
import os
from pathlib import Path
from typing import cast

from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from excise.bottlenecks.site import is_of_bottleneck
from excise.models.base_checkpoint import BOTTLENECK_WEIGHTS, BaseCheckpoint, BaseCheckpointError
from excise.models.bottlenecked import Bottlenecked
from excise.sharing.bundle.copies import differences
from excise.sharing.erasure import ErasedRows
from excise.sharing.erasure.rows import TABLE


def pinned_base(
    base: tuple[str | os.PathLike, str | None], model: PreTrainedModel, erased: ErasedRows
) -> BaseCheckpoint:
    """The base of a model, as it is now, after making sure that it is the model's.

    Args:
        base: Hub id and revision; or a local folder and `None`.
        model: the model that is to be written.
        erased: what must not be in the base either, as who loads the bundle gets both.

    Raises:
        BaseCheckpointError: if the base cannot be had, or holds what was erased, or the model's weights are not its.
    """
    if isinstance(base, str | os.PathLike) or len(base) != 2:
        raise ValueError(f"base={base!r}: give Hub id and revision, or a local folder and None, as a pair.")
    pinned = BaseCheckpoint.pinned(*base)
    erased_of_base = erased.in_a_part()  # a plain encoder, say
    if left := [leftover for file in pinned.files() for leftover in erased_of_base.find(file)]:
        other = "give a base from before there were bottlenecks"
        if left[0].tensor == TABLE:
            other = "delete with depth='codes', which leaves the base's embeddings"
        raise BaseCheckpointError(
            f"The base {pinned} holds what was deleted, and comes with the bundle: {left[0]}. Save the whole model, or "
            f"{other}."
        )
    config = copy.deepcopy(model.config)
    config.dtype = model.dtype
    assembled, _ = cast(type[Bottlenecked], type(model))._assembled(
        pinned, config, bottleneck_weights(model), dtype=model.dtype
    )
    others = [name for name in model.state_dict() if not is_of_bottleneck(name)]
    if different := set(differences(model.state_dict(), assembled.state_dict())) & set(others):
        raise BaseCheckpointError(
            f"{len(different)} of the model's {len(others)} tensors beside its bottlenecks are not those of the base "
            f"{pinned}, such as {min(different)}: they were trained too. Save the whole model (base=None), or give as "
            "base a checkpoint with these weights."
        )
    return pinned


def bottleneck_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """The part of a model's weights that a bundle of bottlenecks alone holds."""
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if is_of_bottleneck(name)}


def save_bottlenecks(model: PreTrainedModel, folder: Path, base: BaseCheckpoint) -> None:
    """Writes a model's bottlenecks and settings, and what they are to be loaded on."""
    model.config.base_checkpoint = base.to_dict()
    model.save_pretrained(folder, state_dict=bottleneck_weights(model), max_shard_size=10**15)
    folder.joinpath(SAFE_WEIGHTS_NAME).rename(folder / BOTTLENECK_WEIGHTS)
