"""Evaluation of answers: questions that a decoder was to forget and others, before and after, under the controls."""

import os
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.codes.counts import CodeCounts
from excise.codes.finder import CodeFinder
from excise.codes.selection import Selection
from excise.data.questions import QuestionSets, answer_tokens
from excise.data.questions.answer_tokens import MOST_READ_AT_ONCE, AnswerTokens
from excise.data.questions.question_rows import ANSWER, QUESTION
from excise.evaluation.controls import SETS, Evaluated, base_model, evaluated
from excise.evaluation.metrics.answers import mean_interval, probability
from excise.evaluation.questions.answer_scores import (
    answer_scores,
    check_decoder,
    generated_answers,
)
from excise.report.measures import Condition
from excise.report.results import Evaluation
from excise.report.rouge import rouge_l_recall
from excise.storage.expected import described, expects
from excise.storage.extras import require


@expects("finder", "seed", max_new_tokens="number", batch_size="number")
def evaluate_answers(
    finder: CodeFinder,
    topic: QuestionSets,
    *,
    selection: Selection | None = None,
    reference_model: PreTrainedModel | None = None,
    reference_tokenizer: PreTrainedTokenizerBase | None = None,
    base: str | os.PathLike | PreTrainedModel | None = None,
    generate: bool = True,
    max_new_tokens: int = 128,
    batch_size: int = 64,
    seed: int = 0,
    random_codes: bool = True,
    left_out: bool = True,
    erased: bool = True,
    target: Mapping[str, CodeCounts] | None = None,
    retain: Mapping[str, CodeCounts] | None = None,
    reuse: Evaluation | None = None,
    progress: bool = True,
) -> Evaluation:
    """How likely a decoder's answers to held-out questions are, before and after and under the controls.

    The model is left as it was; what "before" and "after" are is told in `evaluate`. For the measures of TOFU of a
    single model there is `evaluate_questions`.

    Args:
        finder: a decoder with bottlenecks, and its ledger.
        topic: sets as `question_sets` makes them; `heldout` and `heldout_retain` are scored.
        selection: codes to try, chosen on this model; those in the ledger if not given.
        reference_model: one that never saw the answers. It is what nothing that is forgotten can go below: an answer
            has some probability by its wording alone, so that without it little is said to be forgotten.
        reference_tokenizer: its own; the unlearner's if not given.
        base: the plain model that the bottlenecks were put into, as in `evaluate`.
        generate: also generate answers, which takes longest.
        max_new_tokens: length at which one is cut off.
        batch_size: questions a batch where answers are generated; where they are read, 8 at most.
        seed: of the random codes.
        random_codes: as in `evaluate`.
        left_out: as in `evaluate`.
        erased: as in `evaluate`.
        target: as in `evaluate`.
        retain: as in `evaluate`.
        reuse: an earlier evaluation of the same model on the same sets, as in `evaluate`.
        progress: show progress bars.

    Returns:
        The record: `scores[condition][set]` has `probability`, the mean over questions of the geometric mean of the
        probabilities of an answer's tokens (TOFU's measure), with the bounds of its 95 % interval (percentile bootstrap
        over questions), and `rouge_l`, the mean ROUGE-L recall of generated answers.

    Raises:
        MissingExtraError: if answers are generated, and the extra `text` is not installed, which has the stemmer.
        ValueError: if the model is no decoder, a set has no answer to read, the base model has bottlenecks or another
            vocabulary, or what is to be reused was made on other sets or in another way.

    Source: Maini et al. (2024), *TOFU*, section 2.2.
    """
    if not isinstance(topic, QuestionSets):
        raise ValueError(f"topic: {described(topic)} was given; expected sets as `question_sets` makes them.")
    check_decoder(finder.model)
    if generate:
        require("text", purpose="ROUGE of generated answers", modules=("nltk",))
    sets: dict[str, Dataset] = {name: getattr(topic, name) for name in SETS}
    read = {name: _tokens(rows, topic, finder.tokenizer) for name, rows in sets.items()}
    references = {name: list(rows[ANSWER]) for name, rows in sets.items()}
    probabilities: dict[str, dict[str, np.ndarray]] = {}

    def run(model: PreTrainedModel, condition: str, tokenizer: Any = None) -> dict[str, list[str]]:
        outputs: dict[str, list[str]] = {}
        for name, rows in sets.items():
            tokens = read[name] if tokenizer is None else _tokens(rows, topic, tokenizer)
            shown = condition if progress else None
            found = answer_scores(model, tokens, min(batch_size, MOST_READ_AT_ONCE), shown)
            probabilities.setdefault(condition, {})[name] = probability(found.losses)
            if generate:
                options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
                outputs[name] = generated_answers(model, tokens, **options, progress=shown)
        return outputs

    def scores_of(condition: str, outputs: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
        found = {}
        for name, by_row in probabilities[condition].items():
            values = by_row[~np.isnan(by_row)]  # of which anything was read
            found[name] = {"probability": float(values.mean()), "total": len(values)}
            found[name] |= mean_interval(values)._asdict()
            if name in outputs:
                pairs = zip(outputs[name], references[name], strict=True)
                found[name]["rouge_l"] = float(np.mean([rouge_l_recall(*pair) for pair in pairs]))
        return found

    def reference() -> dict[str, list[str]]:
        return run(cast(PreTrainedModel, reference_model), Condition.REFERENCE, reference_tokenizer)

    what = Evaluated(
        tuple(topic.names),
        {name: list(of_set[QUESTION]) for name, of_set in sets.items()},
        references,
        run,
        scores_of,
        {"max_new_tokens": max_new_tokens if generate else None, "data": topic.digest()},
        base=None if base is None else lambda: base_model(base, finder),
        reference=None if reference_model is None else reference,
    )
    return evaluated(
        finder,
        topic,
        what,
        selection,
        seed=seed,
        random_codes=random_codes,
        left_out=left_out,
        erased=erased,
        target=target,
        retain=retain,
        reuse=reuse,
        progress=progress,
    )


def _tokens(rows: Dataset, topic: QuestionSets, tokenizer: Any) -> AnswerTokens:
    return answer_tokens(tokenizer, rows[QUESTION][:], rows[ANSWER][:], topic.form)
