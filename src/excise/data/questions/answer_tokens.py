"""Answers as tokens for decoders: inputs with labels on the answer alone, and left-padded prompts."""

import hashlib
import warnings
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from excise.data.batches import longest_first
from excise.data.questions.prompt_format import PromptFormat, Rendered
from excise.data.questions.question_rows import ANSWER, QUESTION, question_rows
from excise.data.truncation import longest, tell_cut
from excise.storage.expected import expects

IGNORED = -100
# Rows a batch when answers are read: each token has a probability for each piece of a large vocabulary.
MOST_READ_AT_ONCE = 8


class AnswerIds(NamedTuple):
    """Token ids of a question and its answer.

    Args:
        input_ids: all of them.
        start: where the answer begins; the length where all of it is cut off.
        ended: whether the last token ends the answer, rather than being of it.
    """

    input_ids: list[int]
    start: int
    ended: bool


class AnswerTokens:
    """Questions and answers as token ids, of which a decoder is given batches: padded right, with labels.

    Args:
        rows: of each, the ids.
        tokenizer: whose padding token is used; that of the end of a text where it has none.
    """

    def __init__(self, rows: Sequence[AnswerIds], tokenizer: PreTrainedTokenizerBase):
        self.rows, self.tokenizer = rows, tokenizer

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def padding(self) -> int:
        """The token that fills rows up; masked, so that which it is changes nothing."""
        tokenizer: Any = self.tokenizer
        known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        return next(token for token in known if token is not None)

    def order(self) -> list[int]:
        """Longest first, so that little is padding."""
        return longest_first([row.input_ids for row in self.rows])

    def counts(self, row: int) -> bool:
        """Whether there is anything of the answer."""
        return self.rows[row].start < len(self.rows[row].input_ids)

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `labels`, each `(batch, seq)`, padded right."""
        chosen = [self.rows[row] for row in rows]
        length = max(len(row.input_ids) for row in chosen)
        tensors = {
            "input_ids": [row.input_ids + [self.padding] * (length - len(row.input_ids)) for row in chosen],
            "attention_mask": [[1] * len(row.input_ids) + [0] * (length - len(row.input_ids)) for row in chosen],
            "labels": [labels_of(row) + [IGNORED] * (length - len(row.input_ids)) for row in chosen],
        }
        return {name: torch.tensor(values) for name, values in tensors.items()}

    def digest(self) -> str:
        """SHA-256 of the ids and of where answers begin."""
        sha = hashlib.sha256()
        for row in self.rows:
            sha.update(array("q", [row.start, int(row.ended), *row.input_ids]).tobytes() + b";")
        return sha.hexdigest()

    def prompts(self) -> "PromptTokens":
        """What a model is given to generate the answers from."""
        return PromptTokens([AnswerIds(row.input_ids[: row.start], 0, False) for row in self.rows], self.tokenizer)


class PromptTokens(AnswerTokens):
    """Prompts as token ids, of which a decoder is given batches to generate from: padded left, without labels."""

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, each `(batch, seq)`, padded left."""
        chosen = [self.rows[row].input_ids for row in rows]
        length = max(map(len, chosen))
        tensors = {
            "input_ids": [[self.padding] * (length - len(ids)) + ids for ids in chosen],
            "attention_mask": [[0] * (length - len(ids)) + [1] * len(ids) for ids in chosen],
        }
        return {name: torch.tensor(values) for name, values in tensors.items()}


def labels_of(row: AnswerIds) -> list[int]:
    """The labels of a row: its ids, and `IGNORED` before the answer."""
    return [IGNORED] * row.start + row.input_ids[row.start :]


def answer_tokens(
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    answers: Sequence[str],
    form: PromptFormat | None = None,
    max_length: int | None = None,
) -> AnswerTokens:
    """Questions and answers as token ids, cut off at a maximum, with a warning that tells how many were.

    A token with letters of both prompt and answer, as tokenizers make where a space stands between the two, is the
    answer's; so what is generated from and what is scored fit each other.

    Args:
        tokenizer: the model's.
        questions: "" of documents.
        answers: as many.
        form: how they are put; `PromptFormat()` if not given.
        max_length: in tokens; the tokenizer's `model_max_length` if not given.

    Raises:
        ValueError: if all answers are cut off before they begin.
    """
    form, options = form or PromptFormat(), {"max_length": max_length} if max_length else {}
    maximum = longest(tokenizer, options)
    whole = [
        _ids(tokenizer, form.rendered(tokenizer, *pair), form, bool(pair[0]) and form.is_chat(tokenizer))
        for pair in zip(questions, answers, strict=True)
    ]
    rows = [
        row
        if len(row.input_ids) <= maximum
        else AnswerIds(row.input_ids[:maximum], min(row.start, maximum), ended=False)
        for row in whole
    ]
    cut = sum(len(row.input_ids) > maximum for row in whole)
    gone = sum(row.start >= len(row.input_ids) for row in rows)
    tell_cut([("questions with their answers", len(rows), cut)], maximum, stacklevel=2)
    if gone:
        told = f"{gone} of {len(rows)} answers are cut off before they begin, at {maximum} tokens"
        if gone == len(rows):
            raise ValueError(f"{told}. Set max_length higher if the model takes more, or give shorter questions.")
        warnings.warn(
            f"{told}, so that they do not count. Set max_length higher if the model takes more.", stacklevel=2
        )
    return AnswerTokens(rows, tokenizer)


def answer_losses(
    logits: Float[Tensor, "batch seq vocab"], labels: Int[Tensor, "batch seq"]
) -> tuple[Float[Tensor, "batch"], Int[Tensor, "batch"]]:
    """The negative log-likelihood of each answer, summed over its tokens in fp32, and their numbers.

    Args:
        logits: of a decoder: those of a token foresee the next one.
        labels: -100 is no token of the answer.

    Example:
        >>> losses, counts = answer_losses(torch.zeros(1, 3, 4), torch.tensor([[-100, 1, 2]]))
        >>> round(losses.item(), 3), counts.item()  # twice the logarithm of four
        (2.773, 2)
    """
    foreseen = labels[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), foreseen, ignore_index=IGNORED, reduction="none")
    return losses.sum(-1), (foreseen != IGNORED).sum(-1)


@expects(tokenizer="processor")
def question_inputs(
    data: Any, tokenizer: PreTrainedTokenizerBase, form: PromptFormat | None = None, max_length: int | None = None
) -> Dataset:
    """Rows as a `Trainer` takes them to teach a decoder the answers: labels are -100 on the prompt.

    Args:
        data: as in `question_rows`.
        tokenizer: as in `answer_tokens`, and so are the next.
        form: likewise.
        max_length: likewise.

    Returns:
        `input_ids`, `attention_mask` and `labels`, not padded, of all rows but those whose answer is cut off whole.
        `DataCollatorForSeq2Seq(tokenizer)` pads them.
    """
    rows = question_rows(data)
    tokens = answer_tokens(tokenizer, rows[QUESTION][:], rows[ANSWER][:], form, max_length)
    kept = [row for number, row in enumerate(tokens.rows) if tokens.counts(number)]
    columns = {"input_ids": [row.input_ids for row in kept], "labels": [labels_of(row) for row in kept]}
    return Dataset.from_dict(columns | {"attention_mask": [[1] * len(row.input_ids) for row in kept]})


def _ids(tokenizer: Any, rendered: Rendered, form: PromptFormat, chat: bool) -> AnswerIds:
    """Token ids of one text, up to what ends its answer."""
    # A chat template writes all special tokens itself.
    options = {"add_special_tokens": not chat, "truncation": False, "verbose": False}
    before = tokenizer(rendered.before, **options)["input_ids"] if rendered.before else []
    ids = list(tokenizer(rendered.text, **options)["input_ids"])
    start = next((at for at, pair in enumerate(zip(before, ids, strict=False)) if pair[0] != pair[1]), len(before))
    start = max(1, min(start, len(ids)))  # nothing foresees the first token
    end, special = tokenizer.eos_token_id, special_tokens(tokenizer)
    if chat and not form.whole_ending:
        ids = ids[: next((at + 1 for at in range(start, len(ids)) if ids[at] in special), len(ids))]
    closed = ids[-1] in special if chat and not form.whole_ending else ids[-1] == end
    if not closed and end is not None and rendered.before:
        ids, closed = [*ids, end], True
    return AnswerIds(ids, start, bool(closed))


def special_tokens(tokenizer: Any) -> set[int]:
    """The tokens that stand for no text."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {*tokenizer.all_special_ids, *(token for token, of in added.items() if of.special)}
