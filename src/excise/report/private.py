"""Redaction of private evidence: a whitelist of what may leave of a record, and nothing else.

Numbers, names that excise itself gives, and the label of the topic stay. Whatever holds words, sentences, tokens,
pictures or paths does not: where one request is private, of no topic, as sentences of another may hold its words.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from excise.bottlenecks.registry import kind_named
from excise.codes.enrichment import Method, Positions
from excise.codes.search import BY_FREQUENCY, PRESETS
from excise.data.forget_sets import PrivateLabel
from excise.ledger.packing import pack, unpack
from excise.report.attack_lines import TRIED
from excise.report.markdown import listed
from excise.report.measures import KNOWN, NO_MEASURES, Condition, takes

WITHHELD = (
    "Private: what was forgotten goes by a label. Its words, and all sentences, outputs, and what selects codes, are "
    "withheld, and the digests of its data are keyed; scores, intervals, counts and controls are as they were "
    "measured. The owner has the rest."
)
WEIGHTS = (
    "That the words of a private topic cannot be found out: what the weights, beside those of a public model that they "
    "were made from, and the model's answers to words that are tried one by one tell is not withheld."
)

NOT_SOUGHT = (
    "That no private word is in these files: when they were written neither the words nor the full evidence was given, "
    "so nothing was looked for."
)

Check = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{16,64}", value))


def _one_of(*names: str) -> Check:
    return lambda value: isinstance(value, str) and str(value) in names


def _all(check: Check) -> Check:
    return lambda value: isinstance(value, list | tuple) and all(map(check, value))


def _numbers(*names: str) -> dict[str, Check]:
    return dict.fromkeys(names, _is_number)


EVIDENCE = ("evaluations", "frontiers", "attacks", "enrichments")
METHODS = _one_of(*get_args(Method), *BY_FREQUENCY, "random")
# What may leave of the settings that chose codes, and of those of an evaluation and of a record.
THRESHOLDS: dict[str, Check] = {
    "method": METHODS,
    "positions": _one_of(*get_args(Positions)),
    "preset": _one_of(*PRESETS),
    "codes_by_round": _all(_is_number),
    **_numbers("q", "effect", "count", "share", "max_retain_ratio", "top_s", "seed", "rounds"),
    **_numbers(*(f"{of}{what}" for of in ("max_", "", "heldout_") for what in ("loss_rise", "probability_fall"))),
    **_numbers("num_target", "num_control", "deletes_request", "taken_out"),
}
SETTINGS = _numbers(*"seed num_beams max_new_tokens batch_size steps epochs learning_rate top_s num_classes".split())
# Which codes of which weights were removed.
REMOVED: dict[str, Check] = {"codes": _is_number, "digest": _is_digest, "weights": _is_digest}
# In how many examples codes fired: names of conditions and sets, and numbers.
FIRINGS = {"examples", "fires", "target", "retain", *map(str, Condition)}
DATA: dict[str, Check] = dict.fromkeys(
    ("name", "split", "language", "license", "task", "datasets"),
    lambda value: isinstance(value, str) or _all(lambda one: isinstance(one, str))(value),
)
# What may leave of attacks: names that excise gives, and numbers.
NULLS = _one_of("never saw it", "word cut out", "nothing", "chance", "a half")
DEPTHS = _one_of("codes", "rows", "distilled")
ATTEMPTS: dict[str, Check] = {
    **_numbers("seed", "draw", "sentences", "examples", "rate", "steps", "noise", "k", "p", "share"),
    "how": _one_of("plain class", "no codes"),
    "opened": _one_of("plain class", "as shared"),
    "trained": _one_of("all weights", "LoRA", "bottleneck"),
    "data": _one_of("topic", "unrelated"),
    "format": _one_of("bf16", "fp16", "int8 dynamic", "int8", "int4"),
    "measured_at": _all(_is_number),
}
UNTOLD = "The reason may hold words, and is withheld; the numbers are as they were measured."
TABLE = "file method top_s positions num_target num_control rows selected round rounds elsewhere".split()
SCORES: dict[str, Check] = _numbers(*KNOWN, *NO_MEASURES) | {
    name: lambda value: isinstance(value, str) and bool(re.fullmatch(r"[\w.|:+-]{1,200}", value))
    for name in ("bleu_signature", "chrf_signature")
}


def _only(values: Mapping[str, Any], allowed: Mapping[str, Check]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in allowed and allowed[name](value)}


def public_thresholds(thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """What may leave of the settings that chose codes.

    Example:
        >>> public_thresholds({"q": 0.05, "method": "mcnemar", "note": "her letters"})
        {'q': 0.05, 'method': 'mcnemar'}
    """
    kept = _only(thresholds, THRESHOLDS)
    for name, value in thresholds.items():
        if name == "searches" and isinstance(value, list | tuple):
            kept[name] = [public_thresholds(one) for one in value]
        elif name == "rounds" and isinstance(value, list | tuple):
            kept[name] = [{"codes": one["codes"], "thresholds": public_thresholds(one["thresholds"])} for one in value]
    return kept


def _firings(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _firings(item) for name, item in value.items() if name in FIRINGS}
    return value if _is_number(value) else None


def is_private(state: Mapping[str, Any]) -> bool:
    """Whether a record's ledger has a private request, undone ones too, or an evaluation is of private sets."""
    measured = [*state["evaluations"], *state.get("attacks", ())]
    return any(request.get("private") for request in state["requests"]) or any(map(_is_keyed, measured))


def _is_keyed(measured: Mapping[str, Any]) -> bool:
    """Whether an evaluation or attacks were made of private sets: the digests of their data are keyed."""
    return "key" in (measured["settings"].get("data") or {})


def public_state(state: Mapping[str, Any], labels: Iterable[PrivateLabel] = ()) -> Mapping[str, Any]:
    """What may leave of a record's state: all of it where no request is private.

    Evidence of a topic that no request of the ledger is called by goes by a number.

    Args:
        state: of a record.
        labels: of private topics, which evidence under their words goes by.
    """
    return redacted(state, labels) if is_private(state) else state


def redacted(state: Mapping[str, Any], labels: Iterable[PrivateLabel] = ()) -> dict[str, Any]:
    """The same of any state, whether a request is private or not."""
    names, labels = {request["topic"]: request["topic"] for request in state["requests"]}, list(labels)
    for entry in (entry for part in EVIDENCE for entry in state.get(part, ())):
        if entry["topic"] not in names:
            number = 1 + sum(name not in names for name in names.values())
            label = next((one.label for one in labels if one.stands_for(entry["topic"])), None)
            names[entry["topic"]] = label or f"a topic that is not named ({number})"
    limits = [] if WEIGHTS in state["not_shown"] else [WEIGHTS]
    return {
        **{name: state[name] for name in ("schema", "version", "excise", "mode", "model", "checks")},
        "requests": [
            request | {"thresholds": public_thresholds(request["thresholds"])} if request.get("private") else request
            for request in state["requests"]
        ],
        "evaluations": [_evaluation(entry, names, state["model"]["sites"]) for entry in state["evaluations"]],
        "frontiers": [_frontier(entry, names) for entry in state["frontiers"]],
        "enrichments": [_enrichment(entry, names, state["requests"]) for entry in state["enrichments"]],
        "codes": [],
        "data": _only(state["data"], DATA),
        "settings": _only(state["settings"], SETTINGS),
        **({"attacks": [_attacks(entry, names) for entry in state["attacks"]]} if "attacks" in state else {}),
        "not_shown": [*state["not_shown"], *limits],
    }


def _evaluation(entry: Mapping[str, Any], names: Mapping[str, str], sites: Iterable[Mapping]) -> dict[str, Any]:
    """Scores and sizes of sets; in the place of each text is an empty one."""
    settings = entry["settings"]
    kept = _only(settings, SETTINGS) | {"thresholds": public_thresholds(settings.get("thresholds", {}))}
    if isinstance(settings.get("removed"), Mapping):
        kept["removed"] = _only(settings["removed"], REMOVED)
    if isinstance(settings.get("controls"), Mapping):
        kept["controls"] = _firings(settings["controls"])
    reasons = [getattr(kind_named(site["kind"]), "needed", None) for site in sites]
    if missing := {c: reason for c, reason in settings.get("not_measured", {}).items() if reason in reasons}:
        kept["not_measured"] = missing
    return {
        "topic": names[entry["topic"]],
        "words": [],
        "removed": entry["removed"],
        "scores": {
            condition: {name: _only(scores, SCORES) for name, scores in sets.items()}
            for condition, sets in entry["scores"].items()
            if condition in list(Condition)
        },
        "outputs": {},
        "texts": {name: [""] * len(texts) for name, texts in entry["texts"].items()},
        "references": {},
        "settings": kept,
    }


def _attacks(entry: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Scores, curves and verdicts; no words, and nothing that an attack says in its own words."""
    settings = _only(entry["settings"], _numbers("seed", "max_new_tokens", "cases"))
    if isinstance(removed := entry["settings"].get("removed"), Mapping):
        settings["removed"] = _only(removed, REMOVED)
    return {
        "topic": names[entry["topic"]],
        "depth": entry["depth"] if DEPTHS(entry["depth"]) else "",
        "results": [
            one
            | {"attack": one["attack"] if one["attack"] in TRIED else "an attack of one's own", "reason": UNTOLD}
            | {"null_is": one["null_is"] if NULLS(one["null_is"]) else ""}
            | {"details": _only(one["details"], _numbers("half", "cases"))}
            | {"attempts": [tried | {"settings": _only(tried["settings"], ATTEMPTS)} for tried in one["attempts"]]}
            for one in entry["results"]
        ],
        "models": _only(entry["models"], dict.fromkeys(("original", "removed", "never_saw"), _is_digest)),
        "settings": settings,
        "seconds": entry["seconds"],
    }


def _frontier(entry: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    states = {"states": entry["states"]} if _all(_is_digest)(entry.get("states")) else {}
    return {
        "topic": names[entry["topic"]],
        "method": entry["method"] if METHODS(entry["method"]) else "",
        "points": entry["points"],
        "examples": entry["examples"],
        "thresholds": public_thresholds(entry["thresholds"]),
    } | states


def _enrichment(
    entry: Mapping[str, Any], names: Mapping[str, str], requests: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    kept, name = {field: entry[field] for field in TABLE if field in entry}, names[entry["topic"]]
    if "thresholds" in entry:
        kept["thresholds"] = public_thresholds(entry["thresholds"])
    if name != entry["topic"]:  # so the record did not see which codes were removed
        kept["selected"] = _removed_for(name, requests)
    return {"topic": name} | kept


def _removed_for(topic: str, requests: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """By site, the codes that requests in force have removed for a topic, packed as in a record."""
    removed: dict[str, set[int]] = {}
    for request in requests:
        if request["topic"] == topic and not request["undone"]:
            for site, codes in request["codes"].items():
                removed.setdefault(site, set()).update(unpack(codes))
    return {site: pack(sorted(codes)) for site, codes in removed.items()}


def evidence(state: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Words and texts of a record's state that `public_state` leaves out; none where no request is private."""
    if not is_private(state):
        return [], []
    measured = [*state["evaluations"], *state.get("attacks", ())]
    keyed = {entry["topic"] for entry in measured if _is_keyed(entry)}
    public = {request["topic"] for request in state["requests"] if not request.get("private")} - keyed
    labels = {request["topic"] for request in state["requests"]} - public | keyed
    words: list[str] = []
    texts: list[str] = []
    for entry in (entry for part in EVIDENCE for entry in state.get(part, ())):
        if entry["topic"] not in public:
            words += entry.get("words", entry.get("settings", {}).get("words", ()))
            words += [] if entry["topic"] in labels else entry["topic"].split("+")
        sets = [entry.get(name, {}) for name in ("texts", "references")] + list(entry.get("outputs", {}).values())
        texts += [text for of_sets in sets for of_set in of_sets.values() for text in of_set]
    return [word for word in words if word not in labels], texts


# Where a public state still holds names that users gave.
GIVEN = ("requests", *EVIDENCE)


def given(state: Mapping[str, Any]) -> list[str]:
    """What users have given of a public state: names of topics, of data and of the base model."""
    values = [*state["data"].values(), *(state["model"]["base_model"] or {}).values()]
    return [*(entry["topic"] for part in GIVEN for entry in state.get(part, ())), *map(str, values)]


def without_given(state: Mapping[str, Any]) -> dict[str, Any]:
    """A public state with the same in the place of all that users have given."""
    parts = {part: [entry | {"topic": "a request"} for entry in state[part]] for part in GIVEN if part in state}
    base = state["model"]["base_model"] and {"id": "base", "revision": "0" * 40}
    return {**state, **parts, "data": {}, "settings": {}, "model": state["model"] | {"base_model": base}}


def about_publishing(state: Mapping[str, Any]) -> str:
    """What a report or a bundle publishes beside numbers, in a sentence or two."""
    if is_private(state):
        return WITHHELD
    told = ["the words of what was forgotten"] if state["requests"] else []
    if any(entry["outputs"] for entry in state["evaluations"]):
        told.append("held-out examples, what they should come out as, and what the model made of them before and after")
    if state["codes"]:
        told.append(f"the {takes(state['model']).replace(' or ', 's and ')}s that select its codes")
    return f"Published for everyone to read: {listed(told)}." if told else ""
