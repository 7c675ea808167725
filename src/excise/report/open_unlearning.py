"""OpenUnlearning's result files: attack results and evaluations under its names and definitions."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from excise.report.attacks import AttackResult
from excise.report.measures import FORGET, RETAIN, Condition
from excise.report.results import Evaluation
from excise.storage.expected import expects
from excise.storage.extras import require
from excise.storage.files import new_file
from excise.storage.processes import by_main_process

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
    `model_utility`) needs wrong answers made on purpose, which topics do not have. Values by example are not kept.

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
    attacks: Sequence[AttackResult],
    evaluation: Evaluation | None = None,
    of: Whose = "removed",
    suite: str = "TOFU",
) -> tuple[Path, Path]:
    """Writes a model's results as OpenUnlearning does: `TOFU_EVAL.json` and `TOFU_SUMMARY.json`.

    Args:
        folder: where to; made if it is not there.
        attacks: as in `open_unlearning_logs`.
        evaluation: as there.
        of: as there.
        suite: what the files' names begin with.

    Returns:
        The two files.

    Raises:
        ValueError: if nothing was given that it measures, too.
    """
    logs = open_unlearning_logs(attacks, evaluation, of)
    if not logs:
        raise ValueError(
            f"None of {len(attacks)} attacks, and no evaluation, has a measure of OpenUnlearning for {of!r}. Give the "
            "result of `TextMembership`, or an evaluation of texts."
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = (Path(folder) / f"{suite}_EVAL.json", Path(folder) / f"{suite}_SUMMARY.json")
    for path, content in zip(files, (logs, open_unlearning_summary(logs)), strict=True):
        with new_file(path) as partial:
            Path(partial).write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
    return files


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


def rouge_l_recall(text: str, reference: str) -> float:
    """The share of a reference's words that a text has in the same order (Lin, 2004), as the package `rouge_score` has.

    Words are of the letters a to z and of digits, in lower case, and cut down to their stems if longer than three.

    Example:
        >>> rouge_l_recall("The cats sat here.", "A cat sat!")
        0.6666666666666666
    """
    words, wanted = (_stems(of) for of in (text, reference))
    row = [0] * (len(words) + 1)
    for word in wanted:
        above, row = row, [0]
        for place, other in enumerate(words):
            row.append(above[place] + 1 if other == word else max(row[place], above[place + 1]))
    return row[-1] / len(wanted) if wanted else 0.0


def _stems(text: str) -> list[str]:
    require("text", purpose="ROUGE")
    from nltk.stem.porter import PorterStemmer

    stem = PorterStemmer().stem
    return [stem(word) if len(word) > 3 else word for word in re.findall(r"[a-z0-9]+", text.lower())]
