"""Questions said otherwise: paraphrases, another template, other case, misspelt names, and a person not named."""

from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from excise.attacks.asked_sets import AskedSets
from excise.attacks.interface import null_hits, share_result
from excise.data.inputs import tokenizer_of
from excise.data.questions import PromptFormat
from excise.data.questions.name_controls import name_parts, replaced
from excise.data.questions.question_rows import ANSWER, PARAPHRASED_ANSWER, PARAPHRASED_QUESTION, QUESTION
from excise.data.topics.spellings import MISSPELLINGS, misspelt
from excise.report.attacks import AttackResult

CASES = {"upper": str.upper, "lower": str.lower, "title": str.title}
# What stands in the place of a name where the person is implied.
UNNAMED = "this person"
# A wording: questions and answers, and the form that they are put in where it is another than the sets'.
Wording = tuple[Dataset, PromptFormat | None]


def asked_otherwise(
    attack: str,
    original: PreTrainedModel | None,
    removed: PreTrainedModel,
    never_saw: PreTrainedModel | None,
    sets: AskedSets,
    seed: int = 0,
) -> AttackResult:
    """What models answer to questions that are said otherwise; the rule is that of `share_result`.

    Each wording is an attempt, whose null is the same wording given to the model that never saw it. Wordings that rows
    do not have, or in which nothing differs, are named in `details`, and so are those of which the answer of a row is
    cut off.

    Args:
        attack: its name.
        original: the model before anything was removed.
        removed: the model that is shared.
        never_saw: one of the same recipe that never saw the questions.
        sets: what is asked.
        seed: of the misspellings.
    """
    made, left_out = wordings(sets, seed)
    attempts: list[tuple[dict[str, Any], np.ndarray, np.ndarray | None, None]] = []
    for how, (rows, form) in made.items():
        models = [model for model in (removed, never_saw) if model is not None]
        values = [sets.probabilities(model, rows, form) for model in models]
        if any(np.isnan(of).any() for of in values):
            left_out[how] = "An answer is cut off before it begins."
            continue
        attempts.append(({"how": how}, values[0], values[1] if never_saw is not None else None, None))
    details: dict[str, Any] = {"left out": left_out}
    if not attempts:
        why = "The questions have no other wording: no paraphrases, no letters to write otherwise, and one template."
        return AttackResult.not_measured(attack, sets.measure, why, details=details)
    null, null_is = null_hits(original, never_saw, sets)
    before = None if original is None else sets.hits(original)
    return share_result(attack, sets, attempts, before, sets.hits(removed), null, null_is, **details)


def wordings(sets: AskedSets, seed: int = 0) -> tuple[dict[str, Wording], dict[str, str]]:
    """The rows that are asked in each wording, and why others are not there.

    Args:
        sets: what is asked.
        seed: of the misspellings, beside that of the sets.
    """
    rows = sets.topic.heldout.select_columns(
        [name for name in (QUESTION, ANSWER, PARAPHRASED_QUESTION, PARAPHRASED_ANSWER) if name in _names(sets)]
    )
    made: dict[str, Wording] = {}
    left_out: dict[str, str] = {}
    if PARAPHRASED_QUESTION in rows.column_names:
        made["paraphrased question"] = _with(rows, rows[PARAPHRASED_QUESTION][:]), None
        if PARAPHRASED_ANSWER in rows.column_names:
            both = rows[PARAPHRASED_QUESTION][:], rows[PARAPHRASED_ANSWER][:]
            made["paraphrased question and answer"] = _with(rows, *both), None
    else:
        left_out["paraphrased question"] = f"The rows have no {PARAPHRASED_QUESTION!r}."
    for name, cased in CASES.items():
        made[f"case: {name}"] = _with(rows, [cased(question) for question in rows[QUESTION]]), None
    if sets.topic.form.is_chat(tokenizer_of(sets.processor)):
        made["plain template"] = rows, PromptFormat(chat=False)
    parts = name_parts(sets.topic.names)
    for name in MISSPELLINGS if parts else ():
        rng = np.random.default_rng((sets.seed, seed))
        others = {part: misspelt(part, name, rng) or part for part in parts}
        made[f"misspelling: {name}"] = _renamed(rows, others), None
    if parts:
        made["implied"] = _renamed(rows, dict.fromkeys(parts, UNNAMED)), None
    same = [how for how, (of, form) in made.items() if form is None and _texts(of) == _texts(rows)]
    left_out |= dict.fromkeys(same, "Nothing differs from the questions as they are.")
    return {how: wording for how, wording in made.items() if how not in same}, left_out


def _names(sets: AskedSets) -> list[str]:
    return sets.topic.heldout.column_names


def _texts(rows: Dataset) -> list[tuple[str, str]]:
    return list(zip(rows[QUESTION][:], rows[ANSWER][:], strict=True))


def _with(rows: Dataset, questions: list[str], answers: list[str] | None = None) -> Dataset:
    """Rows of other questions, and other answers where these are given."""
    return Dataset.from_dict({QUESTION: questions, ANSWER: rows[ANSWER][:] if answers is None else answers})


def _renamed(rows: Dataset, others: dict[str, str]) -> Dataset:
    """Rows in whose questions parts of names are others; the same one after the other are one."""

    def renamed(question: str) -> str:
        text = replaced(question, others).text
        for separator in (" ", "-"):
            while f"{UNNAMED}{separator}{UNNAMED}" in text:
                text = text.replace(f"{UNNAMED}{separator}{UNNAMED}", UNNAMED)
        return text

    return _with(rows, [renamed(question) for question in rows[QUESTION]])
