"""Shared prompts: several answers to one question are scored by reading the question once, through the cache."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from excise.data.questions.answer_tokens import IGNORED, AnswerTokens


class PromptGroups:
    """Rows of answers by what they go on from, a group a prompt, of which each is run by itself.

    Args:
        tokens: the rows.
    """

    def __init__(self, tokens: AnswerTokens):
        self.tokens = tokens
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, ids in enumerate(tokens.rows):
            if tokens.counts(row):
                groups.setdefault(tuple(ids.input_ids[: ids.start]), []).append(row)
        self.groups = list(groups.values())

    def __len__(self) -> int:
        return len(self.groups)

    def order(self) -> list[int]:
        """Those of most tokens first, so that memory runs out at once or never."""
        rows = self.tokens.rows
        sizes = [len(group) * max(len(rows[row].input_ids) for row in group) for group in self.groups]
        return sorted(range(len(self)), key=lambda group: (-sizes[group], group))

    def counts(self, group: int) -> bool:
        """All."""
        return True

    def digest(self) -> str:
        """That of the rows."""
        return self.tokens.digest()

    def batch(self, groups: Sequence[int]) -> dict[str, Tensor]:
        """A group's `prompt`, `(1, seq)`; and `answers` and `labels`, `(rows, seq)`, padded right."""
        (group,) = groups
        rows = [self.tokens.rows[row] for row in self.groups[group]]
        own = [row.input_ids[row.start :] for row in rows]
        length = max(map(len, own))
        return {
            "prompt": torch.tensor([rows[0].input_ids[: rows[0].start]]),
            "answers": torch.tensor([ids + [self.tokens.padding] * (length - len(ids)) for ids in own]),
            "labels": torch.tensor([ids + [IGNORED] * (length - len(ids)) for ids in own]),
        }


def answer_logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Logits that foresee the tokens of several answers to one prompt, `(rows, seq, vocabulary)`, as its full text's.

    Args:
        model: a decoder whose cache can be repeated, as that of most.
        batch: of one group of `PromptGroups`.

    Raises:
        ValueError: if the model keeps no such cache.
    """
    prompt, answers = (batch[name].to(model.device) for name in ("prompt", "answers"))
    read = model(input_ids=prompt, attention_mask=torch.ones_like(prompt), use_cache=True)
    rows, length = answers.shape
    first = read.logits[:, -1:].expand(rows, -1, -1)
    if length == 1:
        return first
    cache: Any = read.past_key_values
    if not hasattr(cache, "batch_repeat_interleave"):
        raise ValueError(
            f"{type(model).__name__} keeps a {type(cache).__name__}, which several answers cannot share. Leave out "
            "share_prompts."
        )
    cache.batch_repeat_interleave(rows)
    there = (batch["labels"][:, :-1] != IGNORED).long().to(model.device)
    mask = torch.cat([torch.ones(rows, prompt.shape[1], dtype=torch.long, device=there.device), there], dim=1)
    rest = model(input_ids=answers[:, :-1], attention_mask=mask, past_key_values=cache, use_cache=True).logits
    return torch.cat([first, rest], dim=1)
