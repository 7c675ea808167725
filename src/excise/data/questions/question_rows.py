"""Question and answer rows: TOFU's files, prompts with completions and documents, under the same column names."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset, concatenate_datasets

from excise.data.columns import read_column
from excise.data.reading import load_rows, refuse_stream
from excise.storage.display import few, shortened

QUESTION, ANSWER = "question", "answer"
PARAPHRASED_QUESTION, PARAPHRASED_ANSWER = "paraphrased_question", "paraphrased_answer"
WRONG_ANSWERS = "perturbed_answer"
# What data sets call a prompt and what is to come after it; the first pair that is there counts.
PAIRS = ((QUESTION, ANSWER), ("prompt", "completion"), ("instruction", "output"), ("prompt", "response"))
DOCUMENT = "text"


def question_rows(data: Any, question: str | None = None, answer: str | None = None, split: str = "train") -> Dataset:
    """Rows with the columns `question` and `answer`, whatever they are called where they come from.

    TOFU's further columns are checked and kept: `paraphrased_question`, `paraphrased_answer` (texts) and
    `perturbed_answer` (a list of wrong answers); others are kept as they are.

    Args:
        data: rows in memory, a file or a folder or a Hub id, as in `load_rows`.
        question: the column of questions or prompts. If neither this nor `answer` is given: `question` and `answer`,
            `prompt` and `completion` (or `response`), `instruction` and `output`, or, of plain documents, `text`.
        answer: the column of answers, completions or, without questions, of documents, whose question is empty.
        split: as in `load_rows`.

    Raises:
        ValueError: if there are no rows or no such columns, or a row has no text where it needs one.

    Example:
        >>> question_rows([{"prompt": "Who wrote it?", "completion": "She did."}])[:]
        {'question': ['Who wrote it?'], 'answer': ['She did.']}
        >>> question_rows([{"text": "A document."}])[:]
        {'question': [''], 'answer': ['A document.']}
    """
    rows = load_rows(data, split=split)
    refuse_stream(rows)
    if not len(rows):
        raise ValueError("There are no rows. Give at least one question with its answer.")
    question, answer = _columns(rows.column_names, question, answer)
    texts = {QUESTION: _texts(rows, question) if question else [""] * len(rows), ANSWER: _texts(rows, answer)}
    for name in (PARAPHRASED_QUESTION, PARAPHRASED_ANSWER):
        if name in rows.column_names:
            texts[name] = _texts(rows, name)
    columns: dict[str, Any] = dict(texts)
    if WRONG_ANSWERS in rows.column_names:
        columns[WRONG_ANSWERS] = _wrong_answers(rows)
    others = [name for name in rows.column_names if name not in (question, answer, *columns)]
    made = Dataset.from_dict(columns)
    return concatenate_datasets([made, rows.with_format(None).select_columns(others)], axis=1) if others else made


def _columns(names: Sequence[str], question: str | None, answer: str | None) -> tuple[str | None, str]:
    """The columns of questions and of answers."""
    if answer is not None:
        return question, answer
    if question is not None:
        raise ValueError(f"question={question!r} is given and `answer` is not. Name the column of answers, too.")
    for pair in PAIRS:
        if {*pair} <= {*names}:
            return pair
    if DOCUMENT in names and not {part for pair in PAIRS for part in pair} & {*names}:
        return None, DOCUMENT
    wanted = ", ".join(" and ".join(pair) for pair in PAIRS)
    raise ValueError(
        f"The rows have the columns {few(names, 12)}. Expected {wanted}, or {DOCUMENT} of plain documents; name others "
        'with question="..." and answer="...".'
    )


def _texts(rows: Dataset, name: str) -> list[str]:
    """A column of texts, each with more than space in it."""
    texts = read_column(rows, name)
    for row, text in enumerate(texts):
        if text is None or not text.strip():
            raise ValueError(f"Row {row} has no text in {name!r}. Leave out rows without one.")
    return texts


def _wrong_answers(rows: Dataset) -> list[list[str]]:
    """The wrong answers of each row; one alone is a list of one."""
    lists = [[value] if isinstance(value, str) else value for value in rows.with_format(None)[WRONG_ANSWERS][:]]
    for row, answers in enumerate(lists):
        wrong = not isinstance(answers, list) or not answers
        if wrong or not all(isinstance(answer, str) and answer.strip() for answer in answers):
            raise ValueError(
                f"Row {row} has {shortened(answers)!r} in {WRONG_ANSWERS!r}. Expected a list of wrong answers, at "
                "least one, each a text."
            )
    return lists
