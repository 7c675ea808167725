"""Metadata of a model card: what the Hub files a model under, and its scores as a model index."""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.utils import HFValidationError, validate_repo_id

from excise.report.markdown import plain
from excise.report.measures import FORGET, RETAIN, Condition, is_measure, measure
from excise.report.record import Record
from excise.report.results import Evaluation
from excise.report.verdict import grouped

KNOWN = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
    eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3
    llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0
    other pddl postgresql unknown unlicense wtfpl zlib
    """.split()
)


def license_fields(given: Any) -> dict[str, Any]:
    """A licence as the Hub wants it: its identifier, or "other" and a name of one's own.

    Example:
        >>> license_fields("Apache-2.0"), license_fields("CC BY 2.0 FR")
        ({'license': 'apache-2.0'}, {'license': 'other', 'license_name': 'cc-by-2.0-fr'})
    """
    name = re.sub(r"[^a-z0-9.+]+", "-", str(given or "").lower()).strip("-")
    if not name:
        return {}
    return {"license": name} if name in KNOWN else {"license": "other", "license_name": name}


SETS = {FORGET: "with the topic", RETAIN: "without the topic"}
CLASS_SETS = {FORGET: "of the class", RETAIN: "of other classes"}
ANSWER_SETS = {FORGET: "to forget", RETAIN: "others"}
# The Hub's own names of metrics; others go by excise's.
METRICS = {"bleu": "sacrebleu", "rest_bleu": "sacrebleu", "accuracy": "accuracy", "chrf": "chrf", "meteor": "meteor"}
METRICS |= dict.fromkeys(("bert_score_precision", "bert_score_recall", "bert_score_f1"), "bertscore")
# What the Hub calls recall is another thing.
OWN_METRICS = {"recall": "topic_recall"}
# What T5 writes before a text that it is to translate, and the codes of languages that such a prefix names.
PREFIX = re.compile(r"translate (\w+) to (\w+): ", re.IGNORECASE)
LANGUAGES = {
    "arabic": "ar", "bulgarian": "bg", "chinese": "zh", "czech": "cs", "danish": "da", "dutch": "nl", "english": "en",
    "estonian": "et", "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "hebrew": "he", "hindi": "hi",
    "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko", "latvian": "lv",
    "lithuanian": "lt", "norwegian": "no", "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru",
    "slovak": "sk", "slovenian": "sl", "spanish": "es", "swedish": "sv", "thai": "th", "turkish": "tr",
    "ukrainian": "uk", "vietnamese": "vi",
}  # fmt: skip
LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")


def metadata(record: Record, name: str, bottleneck_only: bool) -> ModelCardData:
    """What stands between the two lines of dashes.

    Args:
        record: the evidence. Of its `data`, `datasets`, `language`, `license` and `task` are taken over where they are
            what the Hub has identifiers for, and `name` where it is the id of a data set.
        name: what the model is called in the index.
        bottleneck_only: whether the base model is not part of what is shared.
    """
    state = record.state
    model, data = state["model"], state["data"]
    kinds = sorted({site["kind"].replace("_", "-") for site in model["sites"]})
    base = (model["base_model"] or {}).get("id")
    base = base if base and _is_repo(base) else None  # a folder is of no use to others
    results = list(eval_results(record))
    said = [f"unlearning-{one.label.replace(',', '').replace(' ', '-')}" for one, _ in grouped(record.verdicts)]
    return ModelCardData(
        library_name="transformers",
        **license_fields(data.get("license")),
        language=languages(state) or None,
        base_model=base,
        base_model_relation=("adapter" if bottleneck_only else "finetune") if base else None,
        pipeline_tag=task(state),
        datasets=_datasets(data) or None,
        metrics=sorted({result.metric_type for result in results} & set(METRICS.values())) or None,
        tags=["excise", "machine-unlearning", *kinds, f"unlearning-{state['mode']}", *said],
        model_name=name if results else None,
        eval_results=results or None,
    )


def task(state: Mapping[str, Any]) -> str | None:
    """The pipeline that the model is filed under: what `data` says, or else what its class and languages are for."""
    if given := plain(state["data"].get("task") or ""):
        return given
    of_class = state["model"]["task"]
    return "translation" if of_class == "text2text-generation" and len(languages(state)) > 1 else of_class


def languages(state: Mapping[str, Any]) -> list[str]:
    """Codes of the languages that the model takes and puts out, where they are known.

    They are what `data` says, or else what all the texts that it was evaluated on ask for, such as
    "translate English to French: ".
    """
    given = _texts(state["data"].get("language"))
    if given:
        return [language for language in given if LANGUAGE.fullmatch(language)]
    texts = [text for one in state["evaluations"] for texts in _listed(one.get("texts")) for text in texts]
    pairs = {PREFIX.match(text).groups() if PREFIX.match(text) else () for text in texts}  # type: ignore[union-attr]
    named = [LANGUAGES.get(name.lower(), "") for name in (pairs.pop() if len(pairs) == 1 else ())]
    return named if all(named) else []


def _listed(texts: Any) -> list[list[str]]:
    """The lists of texts among those of an evaluation's sets; of images there are only numbers."""
    sets = texts.values() if isinstance(texts, Mapping) else ()
    return [one for one in sets if isinstance(one, list) and all(isinstance(text, str) for text in one)]


def labels_of_sets(evaluation: Evaluation) -> dict[str, str]:
    """What the sets of an evaluation are, in words."""
    return {"classes": CLASS_SETS, "answers": ANSWER_SETS, "texts": SETS}[evaluation.kind]


def eval_results(record: Record) -> Iterator[EvalResult]:
    """The scores of the model that is shared, with just the codes removed that are removed in it, on each set.

    A score that is no number is left out. A class that there is no evaluation of has its accuracies from its frontier,
    at what the ledger has removed.
    """
    state, now = record.state, record.in_force
    evaluations = [evaluation for evaluation in record.evaluations if now.is_of(evaluation)]
    for evaluation in evaluations:
        for name, label in labels_of_sets(evaluation).items():
            for metric, value in evaluation.scores.get(Condition.AFTER, {}).get(name, {}).items():
                if is_measure(metric, value) and isfinite(value):
                    yield _result(state, evaluation.topic, name, label, metric, value)
    evaluated = {evaluation.topic for evaluation in evaluations}
    for frontier in record.frontiers:
        point = None if frontier.topic in evaluated else now.point(frontier)
        if point is not None:
            for (name, label), value in zip(CLASS_SETS.items(), (point.forget, point.retain), strict=True):
                yield _result(state, frontier.topic, name, label, "accuracy", value)


def _result(state: Mapping[str, Any], topic: str, name: str, label: str, metric: str, value: float) -> EvalResult:
    data, datasets = state["data"], _datasets(state["data"])
    return EvalResult(
        task_type=task(state) or "other",
        dataset_type=datasets[0] if datasets else "custom",
        dataset_name=f"{plain(data.get('name') or 'held-out set')}, {label}: {plain(topic)}",
        dataset_config=f"{plain(topic)}, {name}",  # what has one type, configuration and split becomes one entry
        dataset_split=plain(data["split"]) if data.get("split") else None,
        metric_type=(METRICS | OWN_METRICS).get(metric, metric),
        metric_name=f"{measure(metric).label} with the codes removed",
        metric_value=float(f"{value:.6g}"),
    )


def _datasets(data: Mapping[str, Any]) -> list[str]:
    named = [name for name in _texts(data.get("name")) if "/" in name]  # one word may be any data set's name
    return [name for name in _texts(data.get("datasets")) or named if _is_repo(name)]


def _is_repo(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text]
