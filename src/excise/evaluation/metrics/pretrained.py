"""Base of the metrics that ask a pretrained model: loading it, its longest input, and batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase


def load(
    auto_class: type[Any], model: str, max_length: int | None, device: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in fp32, ready to score, and its tokenizer with a `model_max_length` that can be relied on.

    Args:
        auto_class: the transformers class that loads it, for example `AutoModel`.
        model: local path or Hub id.
        max_length: longest input in tokens, special tokens included; `None` asks the tokenizer, then the model.
        device: where it runs; `None` takes a GPU where there is one.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    loaded = auto_class.from_pretrained(model, dtype=torch.float32).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.model_max_length = max_length or _max_length(tokenizer, loaded)
    return loaded, tokenizer


def batches(texts: Sequence[str | tuple[str, str]], batch_size: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first, always in the same order."""
    lengths = [len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts]
    rows = sorted(range(len(texts)), key=lambda row: -lengths[row])
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def public_name(model: str) -> str:
    """A model's name for a result that may be published: its Hub id, or the last part of a local path.

    Example:
        >>> public_name("facebook/bart-large-cnn")
        'facebook/bart-large-cnn'
    """
    return Path(model).resolve().name if Path(model).is_dir() else model


def _max_length(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    stated, positions = tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)
    # A tokenizer saved without a length reports about 1e30, which overflows when it is asked to truncate.
    if stated < 1e6:
        return min(stated, positions or stated)
    # RoBERTa and its relatives keep the first two of their positions for padding.
    return positions - 2 if positions else 512
