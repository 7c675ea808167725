"""First tokens of texts, where decoders have activations that no code reaches (attention sinks)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor


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
    length = 0 if cache is None else cache.get_seq_length()
    at = torch.arange(seq, device=tokens.device) + length
    return (at == 0).expand(batch, seq)


__all__ = ["first_tokens"]
