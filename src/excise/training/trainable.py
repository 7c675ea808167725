"""Trainable part of a model with bottlenecks: all of it, the bottlenecks alone, or these and a LoRA adapter."""

import copy
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottlenecks, is_of_bottleneck
from excise.storage.expected import expects

if TYPE_CHECKING:
    from peft import PeftModel

Part = Literal["all", "bottlenecks", "lora"]


@expects(model=bottlenecks)
def train_only(model: PreTrainedModel, part: Part, **lora: Any) -> "PreTrainedModel | PeftModel":
    """Has a `Trainer` train a part of a model with bottlenecks, and leave the rest as it is, to the last bit.

    - `"all"`: every weight that the model learns, as in the papers. It costs as much as training the plain model, and
      leaves least of a topic to who leaves the bottlenecks out.
    - `"bottlenecks"`: the base is frozen, so `detach` gives it back, and a bottleneck-only bundle holds all that is
      new. What the base says without its bottlenecks stays as it was, for anybody.
    - `"lora"`: the bottlenecks whole, and a LoRA adapter beside the frozen base, so that it learns to be read through
      them with few new weights.

    Args:
        model: a model with bottlenecks, whose codes are initialised (`initialize_codes`).
        part: what is trained.
        **lora: settings of peft's `LoraConfig`, as `r=16`; every linear layer of the base gets one if not given.

    Returns:
        The model that was given; with `"lora"` a `PeftModel` of it.

    Raises:
        ValueError: if there is no such part, settings of LoRA are given for another, or the model has no bottlenecks.
    """
    if part not in get_args(Part):
        raise ValueError(f"part={part!r}: expected one of {', '.join(map(repr, get_args(Part)))}.")
    if lora and part != "lora":
        raise ValueError(f"{', '.join(sorted(lora))}: settings of LoRA, and part={part!r} has none. Give part='lora'.")
    if part == "lora":
        from peft import LoraConfig, get_peft_model

        whole = sorted({"bottleneck", *(lora.pop("modules_to_save", None) or ())})  # so that they are saved beside it
        usual = {"target_modules": "all-linear", "exclude_modules": r".*\bbottleneck\b.*"}
        return get_peft_model(model, LoraConfig(**usual | lora, modules_to_save=whole))
    held = _held(model) if part == "all" else frozenset()
    for name, weight in model.named_parameters():
        weight.requires_grad_(is_of_bottleneck(name) or (part == "all" and name not in held))
    return model


def _held(model: PreTrainedModel) -> frozenset[str]:
    """Weights that a model never trains, as the positions of a Whisper, which are computed and not learned."""
    if not hasattr(model, "plain"):  # the models of the papers have none
        return frozenset()
    with torch.device("meta"):
        fresh = type(model)(copy.deepcopy(model.config))
    return frozenset(name for name, weight in fresh.named_parameters() if not weight.requires_grad)


__all__ = ["train_only"]
