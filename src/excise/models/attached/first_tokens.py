"""First tokens of texts, where decoders have activations that no code reaches (attention sinks)."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedModel

from excise.models.attached.cache_stamp import MEMORIES, is_filled

# What modules are called that have images or sounds beside the text that `input_ids` is of.
OTHERS = ("vision", "visual", "image", "audio")


def by_text(arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """A model's arguments with one row a text, and how many texts an example has: several in multiple choice."""
    dims = {"input_ids": 3, "attention_mask": 3, "position_ids": 3, "inputs_embeds": 4}
    for name in ("input_ids", "inputs_embeds"):
        tokens = arguments.get(name)
        if tokens is not None and tokens.dim() == dims[name]:
            flat = {
                key: value.flatten(0, 1) if isinstance(value, Tensor) and value.dim() == dims.get(key) else value
                for key, value in arguments.items()
            }
            return flat, tokens.shape[1]
    return arguments, 1


def sees_texts(model: PreTrainedModel, path: str) -> bool:
    """Whether a layer has the tokens of `input_ids`: not where it is of images or sounds, or of another decoder."""
    others = (*OTHERS, "decoder") if model.config.is_encoder_decoder else OTHERS
    return "input_ids" in model.main_input_name and not any(other in path for other in others)


def check_beginnings(model: PreTrainedModel, paths: Iterable[str]) -> None:
    """Makes sure that a model tells its layers where texts begin, for a constant in the place of first tokens.

    Raises:
        ValueError: if it does not: an encoder of a model with a decoder is run alone too, and images begin nowhere.
    """
    if model.config.is_encoder_decoder or not all(sees_texts(model, path) for path in paths):
        raise ValueError(
            "first_token='constant' is for layers that have the tokens of the text that a model is run on. An encoder "
            "beside a decoder is run without the model around it, as in `generate`, and images and sounds have no "
            "first token. Give first_token='codes'."
        )


def first_tokens(arguments: Mapping[str, Any]) -> Bool[Tensor, "batch seq"] | None:
    """Where texts begin in what a decoder is run on, whether its beginning is run or is in a cache.

    By the positions where they are given, as of packed texts, by the attention mask where there is padding, by the
    cache otherwise.

    Args:
        arguments: of the decoder's `forward`, by name.

    Returns:
        The first token of each text; `None` where no tokens are given.
    """
    tokens = arguments.get("input_ids")
    tokens = arguments.get("inputs_embeds") if tokens is None else tokens
    if tokens is None:
        return None
    batch, seq = tokens.shape[:2]
    mask, positions = arguments.get("attention_mask"), arguments.get("position_ids")
    mask = mask.bool() if isinstance(mask, Tensor) and mask.dim() == 2 and mask.shape[1] >= seq else None
    if isinstance(positions, Tensor) and positions.dim() == 2:
        first = (positions == 0).expand(batch, seq)
        return first if mask is None else first & mask[:, -seq:].to(first.device)
    if mask is not None:
        return (mask & (mask.cumsum(1) == 1))[:, -seq:]
    cache = arguments.get("past_key_values")
    filled = any(is_filled(arguments.get(name)) for name in MEMORIES) if cache is None else cache.get_seq_length()
    at = torch.arange(seq, device=tokens.device) + filled
    return (at == 0).expand(batch, seq)


__all__ = ["by_text", "check_beginnings", "first_tokens", "sees_texts"]
