"""OpenUnlearning's result files: attack results and evaluations under its names and definitions."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from excise.report.attacks import AttackResult
from excise.report.measures import FORGET, RETAIN, Condition
from excise.report.question_scores import QuestionScores
from excise.report.results import Evaluation
from excise.report.rouge import rouge_l_recall
from excise.storage.display import few
from excise.storage.expected import expects
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, json_values, read

# What OpenUnlearning calls the attempts of the attack on membership of texts. Both score 1 where members are found.
ATTACKS = {
    "loss": "mia_loss",
    "min-k": "mia_min_k",
    "min-k++": "mia_min_k_plus_plus",
    "zlib": "mia_zlib",
    "reference": "mia_reference",
    "gradient norm": "mia_gradnorm",
}
MEMORISED = {
    "exact memorization": "exact_memorization",
    "extraction strength": "extraction_strength",
    "probability": "forget_Q_A_Prob",
}
# What its `privleak` holds an AUC against where there is no retrained model.
HALF = 0.5
Whose = Literal["removed", "never_saw", "original"]
CONDITIONS = {"removed": Condition.AFTER, "never_saw": Condition.REFERENCE, "original": Condition.BEFORE}


def open_unlearning_logs(
    attacks: Sequence[AttackResult], evaluation: Evaluation | None = None, of: Whose = "removed"
) -> dict[str, dict[str, Any]]:
    """A model's results as OpenUnlearning keeps them in `TOFU_EVAL.json`: by metric, `agg_value` and more.

    Taken over is what has the same definition there: of the attack on membership of texts the AUCs of its six scores,
    `exact_memorization`, `extraction_strength` and `forget_Q_A_Prob` of the topic's sentences, and `privleak` of Min-K
    % against the model that never saw the topic (against a half without one, as there); of an evaluation of texts the
    ROUGE-L recall of what was generated, `forget_Q_A_ROUGE` of the topic's sentences and `retain_Q_A_ROUGE` of others,
    which knows of no letters but a to z, as there. The rest of what it measures (truth ratios, `forget_quality`,
    `model_utility`) needs wrong answers made on purpose, which topics do not have; of questions there are some, see
    `evaluate_questions`. Values by example are not kept.

    Its settings for TOFU have Min-K % at 0.4: attack with `TextMembership(k=0.4)` for figures beside its own.

    Args:
        attacks: results; those of other attacks are passed over.
        evaluation: of texts.
        of: whose results. Those of `"never_saw"` are what its `retain_logs_path` wants.

    Raises:
        ValueError: if `of` is none of the three.
        MissingExtraError: if there is an evaluation, and the extra `text` is not installed, which has the stemmer.

    Source: OpenUnlearning, arXiv:2506.12618, `evals/metrics` and `evals/base.py`.
    """
    if of not in CONDITIONS:
        raise ValueError(f"of={of!r}: expected one of {', '.join(map(repr, CONDITIONS))}.")
    logs: dict[str, dict[str, Any]] = {}
    for result in attacks:
        if result.measure != "auc" or "memorised" not in result.details:
            continue
        for attempt in result.attempts:
            how = attempt.settings["how"]
            values = {"removed": attempt.score, "never_saw": attempt.null, "original": result.details["original"][how]}
            if values[of] is not None:
                logs[ATTACKS[how]] = {"auc": values[of], "agg_value": values[of]}
            if how == "min-k" and of != "never_saw" and values[of] is not None:
                logs["privleak"] = {"agg_value": privacy_leak(values[of], values["never_saw"])}
        for what, value in result.details["memorised"].get(of, {}).items():
            logs[MEMORISED[what]] = {"agg_value": value}
    if evaluation is not None and not evaluation.of_classes:
        outputs = evaluation.outputs.get(CONDITIONS[of], {})
        for dataset, name in ((FORGET, "forget_Q_A_ROUGE"), (RETAIN, "retain_Q_A_ROUGE")):
            if outputs.get(dataset):
                pairs = zip(outputs[dataset], evaluation.references[dataset], strict=True)
                recalls = [rouge_l_recall(*pair) for pair in pairs]
                logs[name] = {"agg_value": sum(recalls) / len(recalls)}
    return dict(sorted(logs.items()))


def open_unlearning_summary(logs: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The values of logs by metric, as OpenUnlearning keeps them in `TOFU_SUMMARY.json`."""
    return {name: of["agg_value"] for name, of in logs.items() if of.get("agg_value") is not None}


@expects("folder", attacks="attack_results")
@by_main_process("folder")
def write_open_unlearning(
    folder: str | os.PathLike,
    attacks: Sequence[AttackResult] = (),
    evaluation: Evaluation | None = None,
    of: Whose = "removed",
    suite: str = "TOFU",
    questions: QuestionScores | None = None,
) -> tuple[Path, Path]:
    """Writes a model's results as OpenUnlearning does: `TOFU_EVAL.json` and `TOFU_SUMMARY.json`.

    Of questions, what was asked and how goes to `TOFU_SETTINGS.json` beside them, which OpenUnlearning does not have.

    Args:
        folder: where to; made if it is not there.
        attacks: as in `open_unlearning_logs`.
        evaluation: as there.
        of: as there.
        suite: what the files' names begin with.
        questions: of a decoder, from `evaluate_questions`, with values by row: question, answer and what was generated
            stand in the file. What attacks and evaluation have under the same name gives way to theirs.

    Returns:
        The two files.

    Raises:
        ValueError: if nothing was given that it measures, too.
    """
    logs = open_unlearning_logs(attacks, evaluation, of)
    if questions is not None:
        logs = dict(sorted((logs | json_values(questions.logs)).items()))
    if not logs:
        raise ValueError(
            f"None of {len(attacks)} attacks, and no evaluation, has a measure of OpenUnlearning for {of!r}, to write "
            f"to {os.fspath(folder)!r}: expected the result of `TextMembership`, an evaluation of texts, or scores of "
            "questions."
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    contents: dict[str, Any] = {"EVAL": logs, "SUMMARY": open_unlearning_summary(logs)}
    if questions is not None:
        about = {"settings": questions.settings, "not_measured": questions.not_measured}
        contents["SETTINGS"] = json_values(about)
    files = {name: Path(folder) / f"{suite}_{name}.json" for name in contents}
    for name, content in contents.items():
        with new_file(files[name]) as partial:
            Path(partial).write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
    return files["EVAL"], files["SUMMARY"]


@expects(path="folder")
def read_open_unlearning(path: str | os.PathLike, suite: str = "TOFU") -> QuestionScores:
    """The scores in a `TOFU_EVAL.json`, of OpenUnlearning or of `write_open_unlearning`, with settings where there are.

    Args:
        path: the file, or the folder that it lies in.
        suite: what the file's name begins with, in a folder.

    Raises:
        ValueError: if there is none, or it is not what OpenUnlearning writes.
    """
    file = Path(path) / f"{suite}_EVAL.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ValueError(f"There is no {file}: expected a {suite}_EVAL.json, or the folder that it lies in.")
    try:
        state = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda name: None)  # it writes NaN
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}.") from error
    logs = checked(state, dict[str, dict[str, Any]], file.name)
    if wrong := [name for name, log in logs.items() if not isinstance(log.get("agg_value"), int | float | None)]:
        raise ValueError(f"{file} has an `agg_value` that is no number, of {few(wrong)}. Is it one of OpenUnlearning?")
    if not any("agg_value" in log for log in logs.values()):
        raise ValueError(f"{file} has no measure with an `agg_value`. Give a {suite}_EVAL.json of OpenUnlearning.")
    beside = file.with_name(file.name.replace("_EVAL", "_SETTINGS"))
    about = checked(read(beside), dict[str, Any], beside.name) if beside != file and beside.is_file() else {}
    return QuestionScores(logs, about.get("settings", {}), about.get("not_measured", {}))


def privacy_leak(auc: float, of_retrained: float | None = None) -> float:
    """How far an AUC is from that of a model trained without the topic, in percent of the latter (MUSE).

    Both are counted from 1 down, as MUSE has members and others the other way round.

    Example:
        >>> privacy_leak(0.75)
        -50.0

    Source: MUSE, arXiv:2407.06460, section 3; 0 is no leak, below it the topic is still known.
    """
    score, reference = 1 - auc, 1 - (HALF if of_retrained is None else of_retrained)
    return round((score - reference) / (reference + 1e-10) * 100, 6)
