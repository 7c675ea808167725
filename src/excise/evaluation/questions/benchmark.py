"""Benchmark of a decoder's answers: TOFU's measures of what is forgotten and of what stays, in one call."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.data.questions.prompt_format import PromptFormat
from excise.data.questions.question_rows import (
    ANSWER,
    PARAPHRASED_ANSWER,
    PARAPHRASED_QUESTION,
    QUESTION,
    WRONG_ANSWERS,
    question_rows,
)
from excise.data.questions.question_sets import QuestionSets
from excise.evaluation.metrics.answers import forget_quality, model_utility
from excise.evaluation.questions.answer_scores import check_decoder
from excise.evaluation.questions.asked_rows import OTHERS, AskedRows
from excise.report.open_unlearning import privacy_leak, read_open_unlearning
from excise.report.question_scores import MIN_K, TRUTH_RATIO, QuestionScores
from excise.storage.display import few
from excise.storage.expected import expects
from excise.storage.extras import require

Reference = PreTrainedModel | QuestionScores | str | os.PathLike
TEXTS = (QUESTION, ANSWER, PARAPHRASED_QUESTION, PARAPHRASED_ANSWER)
# Measures of what stays, whose harmonic mean is model utility.
UTILITY = (
    *("retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"),
    *(f"{of}_{what}" for of in OTHERS.values() for what in ("Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio")),
)


@expects("model", tokenizer="processor")
def evaluate_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sets: QuestionSets | Mapping[str, Any],
    *,
    retain: Any = None,
    real_authors: Any = None,
    world_facts: Any = None,
    holdout: Any = None,
    reference: Reference | None = None,
    form: PromptFormat | None = None,
    question: str = QUESTION,
    generate: bool = True,
    max_new_tokens: int = 200,
    batch_size: int = 8,
    share_prompts: bool = False,
    k: float = 0.4,
    progress: bool = False,
) -> QuestionScores:
    """Asks a decoder what it was to forget and what was to stay, and measures its answers as OpenUnlearning does.

    Always measured are the probabilities of answers, exact memorization and extraction strength; the truth ratio where
    rows have wrong answers and, but of real authors and world facts, paraphrased ones; ROUGE-L recall if `generate`;
    model utility of what is there of its nine values (`of` in its log tells which); privacy leakage where there is a
    holdout; and forget quality where there is a reference.

    Args:
        model: any decoder language model, as it is now; left as it was.
        tokenizer: the model's.
        sets: question sets, of which all rows are asked, whether codes were chosen on them or not; or rows by the names
            `"forget"` and `"retain"`, each as in `question_rows`.
        retain: rows to stay, as in `question_rows`, in place of those of the sets.
        real_authors: further rows, as in `question_rows`; for TOFU `real_authors_perturbed`.
        world_facts: likewise, `world_facts_perturbed`.
        holdout: likewise, `holdout10`: rows like those to forget that no model has seen.
        reference: a model that never saw what is forgotten, the result of this function for it, or a `TOFU_EVAL.json`,
            also one of OpenUnlearning's own.
        form: how questions are put; that of the sets, or `PromptFormat()`, if not given.
        question: the column that rows to forget and to stay are asked by: `"paraphrased_question"` asks in other words.
        generate: whether answers are generated, which takes longest.
        max_new_tokens: at which one is cut off.
        batch_size: rows a batch; it changes nothing but time and memory.
        share_prompts: read each question once for all answers to it, as in `answer_scores`.
        k: the share of tokens that Min-K % looks at.
        progress: show progress bars.

    Raises:
        ValueError: if the model is no decoder, rows are missing or not as they should be, or the reference was asked
            others.
        MissingExtraError: if answers are generated, and the extra `text` is not installed, which has the stemmer.
    """
    check_decoder(model)
    if generate:
        require("text", purpose="ROUGE of generated answers", modules=("nltk",))
    if not isinstance(sets, QuestionSets) and (not isinstance(sets, Mapping) or not {"forget", "retain"} >= {*sets}):
        given = f" of {few(list(sets))}" if isinstance(sets, Mapping) else ""
        raise ValueError(
            f"`sets` is a {type(sets).__name__}{given}: expected QuestionSets, as `question_sets` makes them, or a "
            'dictionary of rows, {"forget": ..., "retain": ...}.'
        )
    rows = _rows(sets, retain=retain, real_authors=real_authors, world_facts=world_facts, holdout=holdout)
    form = form or (sets.form if isinstance(sets, QuestionSets) else PromptFormat())
    options = {"form": form, "question": question, "batch_size": batch_size, "share_prompts": share_prompts}
    options |= {"progress": progress, "k": k}
    settings = {
        "title": getattr(sets, "name", None),
        "rows": {name: len(of) for name, of in rows.items()},
        "data": {name: _digest(of) for name, of in rows.items()},
        "model": type(model).__name__,
        "form": asdict(form),
        "question": question,
        "max_new_tokens": max_new_tokens if generate else None,
        "k": k,
    }
    known = _reference(reference, tokenizer, rows, options)
    if known is not None and {WRONG_ANSWERS, PARAPHRASED_ANSWER} <= {*rows["forget"].column_names}:
        _check_same(known, settings)
    asked = AskedRows(model, tokenizer, rows, options)
    if generate:
        for name in rows:
            asked.generated(name, max_new_tokens)
    else:
        asked.reasons |= {f"{asked.short(name)}_Q_A_ROUGE": "generate=False" for name in rows if name != "holdout"}
    asked.answered(k)
    _against(asked, known)
    used = {name: asked.logs[name]["agg_value"] for name in UTILITY if name in asked.logs}
    if used:
        asked.logs["model_utility"] = {"agg_value": model_utility(used), "of": sorted(used)}
    return QuestionScores(dict(sorted(asked.logs.items())), settings, asked.reasons)


def _rows(sets: QuestionSets | Mapping[str, Any], **others: Any) -> dict[str, Dataset]:
    """The rows that are asked, by name."""
    if isinstance(sets, QuestionSets):
        rows = {"forget": sets.questions(True), "retain": sets.questions(False)}
    else:
        rows = {name: question_rows(data) for name, data in sets.items()}
    rows |= {name: question_rows(data) for name, data in others.items() if data is not None}
    if "forget" not in rows:
        raise ValueError('There are no rows to forget. Give some as "forget".')
    return rows


def _reference(
    reference: Reference | None,
    tokenizer: PreTrainedTokenizerBase,
    rows: Mapping[str, Dataset],
    options: dict[str, Any],
) -> QuestionScores | None:
    """What a model that never saw it scores on what is to be forgotten."""
    if reference is None:
        return None
    if isinstance(reference, str | os.PathLike):
        return read_open_unlearning(reference)
    if isinstance(reference, QuestionScores):
        return reference
    check_decoder(reference)
    asked = AskedRows(
        reference, tokenizer, {name: rows[name] for name in ("forget", "holdout") if name in rows}, options
    )
    asked.answered(options["k"])
    return QuestionScores(asked.logs)


def _digest(rows: Dataset) -> str:
    """SHA-256 of questions and answers, whatever their order and whatever else is there."""
    columns = [name for name in (*TEXTS, WRONG_ANSWERS) if name in rows.column_names]
    values = sorted(json.dumps(row, sort_keys=True) for row in rows.select_columns(columns))
    return hashlib.sha256("\n".join(values).encode()).hexdigest()


def _check_same(known: QuestionScores, settings: Mapping[str, Any]) -> None:
    """Makes sure that a reference was asked the same.

    Raises:
        ValueError: if it was not.
    """
    if TRUTH_RATIO not in known.logs:
        raise ValueError(
            f"The reference has no {TRUTH_RATIO}, which forget quality is made of. Give a result for rows with "
            "paraphrased and wrong answers, or the model itself."
        )
    sizes = settings["rows"]["forget"], len(known.logs[TRUTH_RATIO].get("value_by_index") or ())
    told = known.settings.get("data", {}).get("forget", settings["data"]["forget"])
    if sizes[0] != sizes[1] or told != settings["data"]["forget"]:
        raise ValueError(
            f"The reference was asked {sizes[1]} rows to forget, and the model {sizes[0]}"
            f"{'' if sizes[0] != sizes[1] else ', which are others'}. Ask both the same."
        )


def _against(asked: AskedRows, known: QuestionScores | None) -> None:
    """What is held against a model that never saw it."""
    logs, reasons = asked.logs, asked.reasons
    if TRUTH_RATIO not in logs:
        reasons["forget_quality"] = reasons[TRUTH_RATIO]
    elif known is None:
        reasons["forget_quality"] = "there is no `reference`, a model that never saw what is forgotten"
    else:
        both = [QuestionScores(each).by_row(TRUTH_RATIO) for each in (logs, known.logs)]
        logs["forget_quality"] = {"agg_value": forget_quality(*both)}
    if MIN_K in logs:
        auc = None if known is None else known.summary.get(MIN_K)
        logs["privleak"] = {"agg_value": privacy_leak(logs[MIN_K]["agg_value"], auc), "reference_auc": auc}
