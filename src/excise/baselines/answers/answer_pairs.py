"""Pairs of answers: each that is to be forgotten, beside one that is to stay and is drawn anew each time."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from excise.baselines.answers.objective import Batch
from excise.data.questions.answer_tokens import IGNORED, AnswerTokens, answer_tokens, labels_of
from excise.data.questions.prompt_format import PromptFormat
from excise.data.questions.question_rows import ANSWER, QUESTION, question_rows
from excise.storage.expected import is_a

TOKENISED = ("input_ids", "labels")


class AnswerRow(NamedTuple):
    """One question with its answer, as tokens.

    Args:
        input_ids: of both.
        labels: as many; -100 where a token is none of the answer.
        question: in words; "" where it is not known.
    """

    input_ids: list[int]
    labels: list[int]
    question: str = ""


def answer_rows(data: Any, tokenizer: PreTrainedTokenizerBase, form: PromptFormat | None, name: str) -> list[AnswerRow]:
    """Questions with their answers as tokens, without those whose answer is cut off.

    Args:
        data: as in `question_rows`, or a Dataset with `input_ids` and `labels`.
        tokenizer: the model's.
        form: how questions are put.
        name: what the set is called in messages.

    Raises:
        ValueError: if there are no rows, or they are not as they should be; with the name of the set.
    """
    if is_a(data, "excise:ForgetSets"):
        raise ValueError(
            f"The {name} set is a {type(data).__name__}, which has several. Give rows of it: `sets.questions(True)` to "
            "forget, `sets.questions(False)` to keep."
        )
    if isinstance(data, list | tuple | dict | Dataset) and not len(data):
        raise ValueError(f"The {name} set is empty; give at least one row.")
    if isinstance(data, Dataset) and {*TOKENISED} <= {*data.column_names}:
        return _tokenised(data, name)
    if isinstance(data, Dataset) and "input_ids" in data.column_names:
        raise ValueError(
            f"The {name} set has `input_ids` and no `labels`. Make both of questions: `question_inputs(rows, "
            "tokenizer)`."
        )
    try:
        rows = question_rows(data)
        tokens = answer_tokens(tokenizer, rows[QUESTION][:], rows[ANSWER][:], form)
    except ValueError as error:
        raise ValueError(f"The {name} set: {error}") from error
    questions = rows[QUESTION][:]
    return [
        AnswerRow(row.input_ids, labels_of(row), questions[number])
        for number, row in enumerate(tokens.rows)
        if tokens.counts(number)
    ]


def _tokenised(data: Dataset, name: str) -> list[AnswerRow]:
    """Rows that are tokens already, without their padding."""
    columns = data.with_format(None).select_columns([c for c in (*TOKENISED, "attention_mask") if c in data.features])
    rows = []
    for number, row in enumerate(columns):
        ids, labels, mask = row["input_ids"], row["labels"], row.get("attention_mask") or [1] * len(row["input_ids"])
        if not len(ids) == len(labels) == len(mask):
            raise ValueError(
                f"Row {number} of the {name} set has {len(ids)} input_ids and {len(labels)} labels. A decoder's labels "
                f"are as many as its tokens, {IGNORED} on what is not of the answer."
            )
        there = [place for place, real in enumerate(mask) if real]
        kept = AnswerRow([ids[place] for place in there], [labels[place] for place in there])
        if all(label == IGNORED for label in kept.labels[1:]):
            raise ValueError(
                f"Row {number} of the {name} set has no labels: all are {IGNORED}, or there is one token alone, which "
                "nothing foresees. Leave it out, or make labels by `question_inputs(rows, tokenizer)`."
            )
        rows.append(kept)
    return rows


def check_apart(forget: Sequence[AnswerRow], retain: Sequence[AnswerRow]) -> None:
    """Refuses rows that are to be forgotten and to stay at once.

    Raises:
        ValueError: if there are some.
    """
    kept = {tuple(row.input_ids) for row in retain}
    if twice := sum(tuple(row.input_ids) in kept for row in forget):
        raise ValueError(
            f"{twice} of {len(forget)} rows of the forget set are in the retain set, too, so that they would be "
            "forgotten and kept at once. Leave them out of one."
        )


class OtherAnswers:
    """The questions of rows with answers that stand in the place of their own, made when they are drawn.

    Args:
        rows: with their questions.
        answers: one of which is drawn each time.
        tokenizer: the model's.
        form: how questions are put.

    Raises:
        ValueError: if a row has no question.
    """

    def __init__(
        self,
        rows: Sequence[AnswerRow],
        answers: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        form: PromptFormat | None,
    ):
        if missing := sum(not row.question for row in rows):
            raise ValueError(
                f"{missing} of {len(rows)} rows of the forget set have no question, to which the model could say that "
                "it does not know: they are documents, or tokens already. Give rows with `question` and `answer`, or "
                "take another method."
            )
        self.rows, self.answers, self.tokenizer, self.form = rows, answers, tokenizer, form

    def row(self, row: int, answer: int) -> AnswerRow:
        """A row's question with one of the answers."""
        question = self.rows[row].question
        ids = answer_tokens(self.tokenizer, [question], [self.answers[answer]], self.form).rows[0]
        return AnswerRow(ids.input_ids, labels_of(ids), question)


class AnswerPairs(torch.utils.data.Dataset):
    """Each row to forget, a row to keep, and, where there are words for not knowing, the question with some of them.

    Args:
        forget: rows to forget; an epoch is a pass through them.
        retain: rows to keep.
        seed: of drawing.
        instead: the rows to forget with other answers.
    """

    def __init__(
        self,
        forget: Sequence[AnswerRow],
        retain: Sequence[AnswerRow],
        seed: int,
        instead: OtherAnswers | None = None,
    ):
        self.forget, self.retain, self.instead = forget, retain, instead
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.forget)

    def __getitem__(self, row: int) -> tuple[AnswerRow, AnswerRow, AnswerRow | None]:
        kept = self.retain[self._drawn(len(self.retain))]
        other = None if self.instead is None else self.instead.row(row, self._drawn(len(self.instead.answers)))
        return self.forget[row], kept, other

    def _drawn(self, count: int) -> int:
        """A number below a count; workers have a generator of their own, which goes on from epoch to epoch."""
        generator = self.generator if torch.utils.data.get_worker_info() is None else None
        return int(torch.randint(count, (1,), generator=generator))


def padded(rows: Sequence[AnswerRow], padding: int) -> Batch:
    """Rows as `input_ids`, `attention_mask` and `labels`, each `(batch, seq)`, padded on the right."""
    length = max(len(row.input_ids) for row in rows)

    def filled(values: Sequence[Sequence[int]], with_what: int) -> Tensor:
        return torch.tensor([[*row, *[with_what] * (length - len(row))] for row in values])

    return {
        "input_ids": filled([row.input_ids for row in rows], padding),
        "attention_mask": filled([[1] * len(row.input_ids) for row in rows], 0),
        "labels": filled([row.labels for row in rows], IGNORED),
    }


def collated(pairs: Sequence[tuple[AnswerRow, AnswerRow, AnswerRow | None]], padding: int) -> dict[str, Any]:
    """A batch of rows to keep that has those to forget at `forget`, and what is said in their place at `instead`."""
    forget, retain, instead = zip(*pairs, strict=True)
    batch: dict[str, Any] = {**padded(retain, padding), "forget": padded(forget, padding)}
    return batch if instead[0] is None else batch | {"instead": padded(instead, padding)}


def padding_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills rows up; which it is changes nothing."""
    return AnswerTokens([], tokenizer).padding


def parts(inputs: Mapping[str, Any]) -> tuple[Batch, Batch, Batch | None]:
    """The batches to forget, to keep and to say instead of what `collated` has made."""
    retain = {name: value for name, value in inputs.items() if name not in ("forget", "instead")}
    return dict(inputs["forget"]), retain, dict(inputs["instead"]) if "instead" in inputs else None
