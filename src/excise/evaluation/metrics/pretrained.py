"""Base of the metrics that ask a pretrained model: loading it, its longest input, batches, and a cache of scores."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

Pair = tuple[str, str]
# Pairs whose scores are kept; those of a long text take a few kilobytes each.
MOST_KNOWN = 2**17


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


def batches(texts: Sequence[str | Pair], batch_size: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first, always in the same order."""
    lengths = [len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts]
    rows = sorted(range(len(texts)), key=lambda row: -lengths[row])
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def scores_of_pairs(
    pairs: Sequence[Pair], known: dict[Pair, list[float]], function: Callable[[list[Pair]], Tensor], batch_size: int
) -> list[list[float]]:
    """The scores of pairs of texts; a pair is put through the model once, however often it comes.

    Of the outputs of a model before and after a topic is removed, most are the same.

    Args:
        pairs: the texts.
        known: scores of earlier calls; new ones are added, and all are dropped when they become too many.
        function: gives one row of scores a pair.
        batch_size: pairs that go through the model at once.
    """
    if len(known) > MOST_KNOWN:
        known.clear()
    new = list(dict.fromkeys(pair for pair in pairs if pair not in known))
    for batch in batches(new, batch_size):
        of_batch = [new[i] for i in batch]
        known.update(zip(of_batch, function(of_batch).tolist(), strict=True))
    return [known[pair] for pair in pairs]


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
