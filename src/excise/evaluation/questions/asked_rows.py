"""Answers of a decoder to rows, measured: probabilities, memorization, truth ratios, ROUGE, membership."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.data.questions.answer_tokens import AnswerTokens, answer_tokens
from excise.data.questions.question_rows import ANSWER, PARAPHRASED_ANSWER, QUESTION, WRONG_ANSWERS
from excise.evaluation.metrics.answers import (
    closer_to_one,
    exact_memorization,
    extraction_strength,
    mean_of,
    membership_auc,
    min_k,
    probability,
    probability_among,
    true_better,
    truth_ratios,
)
from excise.evaluation.questions.answer_scores import AnswerScores, answer_scores, generated_answers
from excise.report.question_scores import MIN_K, TRUTH_RATIO
from excise.report.rouge import rouge_scores

Log = dict[str, Any]
# What OpenUnlearning calls rows whose right answers have no paraphrases.
OTHERS = {"real_authors": "ra", "world_facts": "wf"}


class AskedRows:
    """A model's answers to several sets of rows, measured into logs.

    Args:
        model: the decoder.
        tokenizer: its own.
        rows: by name, `"forget"`, `"retain"`, `"real_authors"`, `"world_facts"`, `"holdout"`, those that there are.
        options: `form`, `question`, `batch_size`, `share_prompts` and `progress`, as in `evaluate_questions`.

    Attributes:
        logs: by measure, what OpenUnlearning keeps of it.
        reasons: by measure, why it is not there.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Mapping[str, Dataset], options: Log
    ):
        self.model, self.tokenizer, self.rows, self.options = model, tokenizer, rows, options
        self.logs: dict[str, Log] = {}
        self.reasons: dict[str, str] = {}

    def short(self, name: str) -> str:
        """What OpenUnlearning calls rows."""
        return OTHERS.get(name, name)

    def tokens(self, name: str, answers: list[str], numbers: list[int] | None = None) -> AnswerTokens:
        """Questions of rows with some answers to them; several of a row where numbers tell whose each is."""
        rows, column = self.rows[name], self.options["question"] if name in ("forget", "retain") else QUESTION
        if column not in rows.column_names:
            raise ValueError(f"question={column!r}: the rows {name!r} have no such column, but {rows.column_names}.")
        questions = rows[column][:]
        questions = questions if numbers is None else [questions[number] for number in numbers]
        return answer_tokens(self.tokenizer, questions, answers, self.options["form"])

    def scores(self, name: str, answers: Mapping[str, list[list[str]]]) -> dict[str, AnswerScores]:
        """What the model makes of answers, by what they are; of each row one or several, one after the other."""
        flat = [(what, row, one) for what, rows in answers.items() for row, of_row in enumerate(rows) for one in of_row]
        tokens = self.tokens(name, [one for _, _, one in flat], [row for _, row, _ in flat])
        progress = f"{name}: answers" if self.options["progress"] else None
        options = {"share_prompts": self.options["share_prompts"], "progress": progress}
        found = answer_scores(self.model, tokens, self.options["batch_size"], **options)
        places = {what: [place for place, one in enumerate(flat) if one[0] == what] for what in answers}
        return {
            what: AnswerScores(found.losses[own], [found.log_probs[at] for at in own], [found.right[at] for at in own])
            for what, own in places.items()
        }

    def generated(self, name: str, max_new_tokens: int) -> None:
        """ROUGE of what the model answers."""
        if name == "holdout":
            return
        rows, measure = self.rows[name], f"{self.short(name)}_Q_A_ROUGE"
        if not all(rows[QUESTION][:]):
            self.reasons[measure] = "documents have no question to answer"
            return
        tokens = self.tokens(name, rows[ANSWER][:])
        progress = f"{name}: generating" if self.options["progress"] else None
        options = {"max_new_tokens": max_new_tokens, "batch_size": self.options["batch_size"], "progress": progress}
        texts = generated_answers(self.model, tokens, **options)
        asked = rows[self.options["question"]] if name in ("forget", "retain") else rows[QUESTION]
        by_row = {
            str(row): rouge_scores(text, answer) | {"input": asks, "ground_truth": answer, "generation": text}
            for row, (text, answer, asks) in enumerate(zip(texts, rows[ANSWER][:], asked[:], strict=True))
            if tokens.counts(row)
        }
        value = mean_of([of["rougeL_recall"] for of in by_row.values()])
        self.logs[measure] = {"agg_value": value, "value_by_index": by_row}

    def answered(self, k: float) -> None:
        """Probabilities and what is made of them, of all rows."""
        for name, rows in self.rows.items():
            asked = {ANSWER: [[one] for one in rows[ANSWER][:]]}
            if wanted := name != "holdout" and self._has_wrong_answers(name):
                asked[WRONG_ANSWERS] = rows[WRONG_ANSWERS][:]
                if name not in OTHERS:
                    asked[PARAPHRASED_ANSWER] = [[one] for one in rows[PARAPHRASED_ANSWER][:]]
            short, found = self.short(name), self.scores(name, asked)
            own = found[ANSWER]
            if name in ("forget", "holdout"):
                scores = [min_k(of_row, k) for of_row in own.log_probs]
                self.logs.setdefault(MIN_K, {})[name] = _by_score(scores)
            if name == "holdout":
                continue
            self.logs[f"{short}_Q_A_Prob"] = _probabilities(own.losses)
            if name == "forget":
                for measure, function in (
                    ("exact_memorization", exact_memorization),
                    ("extraction_strength", extraction_strength),
                ):
                    self.logs[measure] = _by_score([function(of_row) for of_row in own.right])
            if wanted:
                self.truth_ratio(name, found)
        self.membership()

    def _has_wrong_answers(self, name: str) -> bool:
        """Whether rows have what a truth ratio is made of; what is not measured else is noted."""
        rows, short = self.rows[name], self.short(name)
        measure = TRUTH_RATIO if name == "forget" else f"{short}_Truth_Ratio"
        needed = [WRONG_ANSWERS] if name in OTHERS else [WRONG_ANSWERS, PARAPHRASED_ANSWER]
        if missing := [column for column in needed if column not in rows.column_names]:
            self.reasons[measure] = f"the rows {name!r} have no column {' or '.join(map(repr, missing))}"
            if name in OTHERS:
                self.reasons[f"{short}_Q_A_Prob_normalised"] = self.reasons[measure]
        return not missing

    def truth_ratio(self, name: str, found: Mapping[str, AnswerScores]) -> None:
        """The truth ratio of rows that have wrong answers."""
        short = self.short(name)
        sizes = [len(answers) for answers in self.rows[name][WRONG_ANSWERS][:]]
        several = np.split(found[WRONG_ANSWERS].losses, np.cumsum(sizes)[:-1])
        self.logs[f"{short}_Q_A_PERT_Prob"] = _several_probabilities(several)
        if name in OTHERS:
            right = found[ANSWER].losses
            shares = probability_among(right, several)
            by_row = {str(row): {"prob": number(value)} for row, value in enumerate(shares)}
            self.logs[f"{short}_Q_A_Prob_normalised"] = {"agg_value": mean_of(shares), "value_by_index": by_row}
        else:
            right = found[PARAPHRASED_ANSWER].losses
            self.logs[f"{short}_Q_A_PARA_Prob"] = _probabilities(right)
        ratios = truth_ratios(right, several)
        measure = TRUTH_RATIO if name == "forget" else f"{short}_Truth_Ratio"
        value = closer_to_one(ratios) if name == "forget" else true_better(ratios)
        self.logs[measure] = _by_score(ratios) | {"agg_value": value}

    def membership(self) -> None:
        """The AUC of Min-K %, where there are rows that no model has seen."""
        log = self.logs.get(MIN_K, {})
        if not {"forget", "holdout"} <= {*log}:
            self.logs.pop(MIN_K, None)
            self.reasons |= dict.fromkeys((MIN_K, "privleak"), "there are no `holdout` rows that no model has seen")
            return
        values = [[of["score"] for of in log[name]["value_by_index"].values()] for name in ("forget", "holdout")]
        auc = membership_auc(*(np.array(of_rows, dtype=np.float64) for of_rows in values))
        self.logs[MIN_K] = log | {"auc": auc, "agg_value": auc}


def _by_score(scores: Any) -> Log:
    """Values by row and their mean, as OpenUnlearning keeps those that have one value a row."""
    by_row = {str(row): {"score": number(score)} for row, score in enumerate(scores)}
    return {"agg_value": mean_of(scores), "value_by_index": by_row}


def _probabilities(losses: np.ndarray) -> Log:
    """Probability and loss of one answer a row."""
    values = probability(losses)
    by_row = {
        str(row): {"prob": number(value), "avg_loss": number(loss)}
        for row, (value, loss) in enumerate(zip(values, losses, strict=True))
    }
    return {"agg_value": mean_of(values), "value_by_index": by_row}


def _several_probabilities(losses: list[np.ndarray]) -> Log:
    """Probabilities and losses of several answers a row, whose mean is a row's value."""
    values = [probability(of_row) for of_row in losses]
    by_row = {
        str(row): {"prob": [number(one) for one in of_row], "avg_loss": [number(one) for one in losses[row]]}
        for row, of_row in enumerate(values)
    }
    return {"agg_value": mean_of([of_row.mean() for of_row in values]), "value_by_index": by_row}


def number(value: float) -> float | None:
    """A value of JSON, which has no NaN."""
    return None if np.isnan(value) else float(value)
