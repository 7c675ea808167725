"""Context of the page's template: a record as a reader wants it, in words and in order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import numpy as np

from excise.codes.enrichment import Enrichment
from excise.ledger.packing import unpack
from excise.report.attack_lines import LOOKS, attack_claim, attack_lines, curved, out_of_reach
from excise.report.attack_lines import RULE as ATTACK_RULE
from excise.report.attacks import AttackReport
from excise.report.code_data import most_drawn
from excise.report.examples import changed_texts, predicted_classes
from excise.report.frontier_in_page import drawing
from excise.report.in_force import InForce, depth_lines
from excise.report.measures import BOUNDED, FORGET, RETAIN, SETS_IN_WORDS, Condition, measure
from excise.report.not_shown import needed, standing
from excise.report.private import about_publishing
from excise.report.record import Record
from excise.report.relearning import relearning_in_page, said
from excise.report.results import Evaluation
from excise.report.sweep import sweep_rows, sweep_steps
from excise.report.verdict import MOST_TOPICS, RULE, Verdict, grouped, headline
from excise.report.volcano import volcano

# In the order in which they are shown, and what they are called.
CONDITIONS: dict[str, str] = {
    Condition.BEFORE: "Before",
    Condition.AFTER: "After",
    Condition.LEFT_OUT: "Bottleneck left out",
    Condition.ERASED: "Deleted, with its embedding rows",
    Condition.ERASED_LEFT_OUT: "Deleted so, bottleneck left out",
    Condition.RANDOM: "As many random codes",
    Condition.RANDOM_TOPIC: "As many, as frequent with the topic",
    Condition.CUT: "Word cut out of the text",
    Condition.BASE: "The plain base model",
    Condition.REFERENCE: "A model that never saw it",
}
# Removed codes that are listed, the surest first.
LISTED = 24
# How settings of a search are said.
PHRASES = {
    "method": "{}",
    "positions": "{} positions",
    "top_s": "S′ = {}",
    "q": "q ≤ {}",
    "effect": "difference ≥ {}",
    "num_target": "{} examples with it",
    "num_control": "{} without",
}


def context(record: Record) -> dict[str, Any]:
    """Everything that the page's template names."""
    state, now, made = record.state, record.in_force, record.verdicts
    shown = [e for e in record.evaluations if "top_s" not in e.settings or now.is_of(e)]
    return {
        "state": state,
        "headline": headline(made),
        "claims": _claims(made),
        "rule": RULE,
        "needed": needed(state["model"]["sites"]),
        "erased": sum(site["deleted"] for site in state["model"]["sites"]),
        "stands": standing(state["mode"], state["model"]["sites"], state["requests"]),
        "removed": sum(site["masked"] + site["deleted"] for site in state["model"]["sites"]),
        "when": max((request["created"] for request in now.requests), default=""),
        "evaluations": [_evaluation(evaluation, now) for evaluation in shown],
        "sweeps": [sweep_rows(steps, now) for steps in sweep_steps(record.evaluations).values()],
        "drawing": drawing(record.measured, now),
        "attacks": [_attacks(report, number, now) for number, report in enumerate(record.attacks)],
        "attack_rule": ATTACK_RULE,
        "out_of_reach": out_of_reach(record.attacks, state["model"]["sites"]),
        "codes": _codes(record),
        "requests": [request | {"how": _how(request["thresholds"])} for request in state["requests"]],
        "data": _lines(state["data"]),
        "settings": _lines(state["settings"]),
        "failed": [check["name"] for check in state["checks"] if not check["passed"]],
        "published": about_publishing(state),
    }


def _claims(made: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What was measured of each topic; of many, of those together of which the same is said."""
    if len(made) <= MOST_TOPICS:
        groups = [(one, [one.topic]) for one, topics in grouped(made) for one in made if one.topic in topics]
    else:
        groups = [(replace(one, score=None, reason=""), topics) for one, topics in grouped(made)]
    return [
        {"label": _capital(one.label), "look": one.look, "topics": ", ".join(topics), "sentence": one.sentence}
        for one, topics in groups
    ]


def _evaluation(evaluation: Evaluation, now: InForce) -> dict[str, Any]:
    sets = (FORGET, RETAIN)
    names = {dataset: evaluation.telling(dataset) for dataset in sets}
    return {
        "topic": evaluation.topic,
        "sets": SETS_IN_WORDS[evaluation.kind],
        "in_force": now.is_of(evaluation),
        "removed": evaluation.removed,
        "sizes": {dataset: len(evaluation.texts[dataset]) for dataset in sets},
        "labels": {dataset: _capital(measure(name).label) if name else "" for dataset, name in names.items()},
        "headline": _headline(evaluation, names),
        "notes": evaluation.notes,
        "rows": [
            {"label": CONDITIONS.get(c, c), "kind": c.replace(" ", "-")}
            | {dataset: _bar(evaluation, c, dataset, names[dataset]) for dataset in sets}
            for c in _conditions(evaluation)
        ],
        "all": {dataset: _all(evaluation, dataset) for dataset in sets},
        "how": _how({k: v for k, v in evaluation.settings.items() if not isinstance(v, Mapping)}),
        "marks": _marks(evaluation, names[FORGET]),
        "kept": _kept(evaluation),
        "texts": None
        if evaluation.of_classes or not evaluation.outputs
        else {dataset: changed_texts(evaluation, dataset) for dataset in sets},
        # Scores may have been kept without the answers that they are of.
        "classes": {dataset: predicted_classes(evaluation, dataset) for dataset in sets}
        if evaluation.of_classes and evaluation.outputs
        else None,
    }


def _attacks(report: AttackReport, number: int, now: InForce) -> dict[str, Any]:
    result = curved(report)
    return {
        "topic": report.topic,
        "depth": report.depth,
        "claim": attack_claim(report),
        "look": LOOKS[report.verdict],
        "in_force": now.is_of(report),
        "lines": attack_lines(report),
        "notes": report.notes,
        "minutes": f"{report.seconds / 60:.1f}",
        "drawing": relearning_in_page(report, f"relearning-{number}"),
        "said": said(result) if result else "",
    }


def _conditions(evaluation: Evaluation) -> list[str]:
    """The conditions of an evaluation in the order in which they are shown."""
    order = list(CONDITIONS)
    return sorted(evaluation.conditions, key=lambda name: order.index(name) if name in order else len(order))


def _kept(evaluation: Evaluation) -> float | None:
    """How much of all else is left after, in percent; `None` where that is not known."""
    kept = evaluation.share_left(RETAIN, of=100)
    return None if isnan(kept) else kept


def _bar(evaluation: Evaluation, condition: str, dataset: str, name: str | None) -> dict[str, Any] | None:
    """A score and the shares of the width that its bar and its interval take, in percent."""
    if name is None:
        return None
    shown = evaluation.score(name, dataset, condition)
    values = [evaluation.score(name, dataset, c).value or 0.0 for c in evaluation.conditions]
    # Shares are drawn on the whole of 0 to 1; other scores beside the best of them.
    whole = 1.0 if name in BOUNDED else max(*values, 1e-9) * 1.05

    def percent(value: float) -> float:
        return round(100 * min(max(value, 0.0), whole) / whole, 2)

    bar = {"text": shown.text, "width": percent(shown.value or 0.0)}
    if shown.low is None or shown.high is None:
        return bar | {"interval": None}
    low, high = percent(shown.low), percent(shown.high)
    interval = {"left": low, "width": round(high - low, 2), "text": f"{shown.low:.3f} to {shown.high:.3f}"}
    return bar | {"interval": interval}


def _marks(evaluation: Evaluation, name: str | None) -> list[dict[str, Any]]:
    """The telling score of a topic under the conditions that count most, as places on a line."""
    if name is None:
        return []
    bars = {
        c: _bar(evaluation, c, FORGET, name)
        for c in (Condition.BEFORE, Condition.RANDOM, Condition.AFTER)
        if c in evaluation.conditions
    }
    return [{"kind": c.replace(" ", "-"), "left": bar["width"], "text": bar["text"]} for c, bar in bars.items() if bar]


def _headline(evaluation: Evaluation, names: Mapping[str, str | None]) -> str:
    """What happened, in a sentence or two."""
    told = names[FORGET]
    if told is None:
        return ""

    def text(condition: str, dataset: str) -> str:
        return evaluation.score(names[dataset] or "", dataset, condition).text

    label, there = measure(told).label, evaluation.conditions
    if Condition.BEFORE not in there:
        return f"{_capital(label)} is {text(Condition.AFTER, FORGET)}; there is no model before to set it against."
    parts = [f"{_capital(label)} went from {text(Condition.BEFORE, FORGET)} to {text(Condition.AFTER, FORGET)}"]
    if Condition.RANDOM in there:
        parts[0] += f"; as many random codes left it at {text(Condition.RANDOM, FORGET)}"
    if Condition.LEFT_OUT in there:
        parts[0] += f"; with the bottleneck left out it is {text(Condition.LEFT_OUT, FORGET)}"
    if Condition.ERASED_LEFT_OUT in there:
        erased = text(Condition.ERASED_LEFT_OUT, FORGET)
        parts[0] += f", and {erased} where the topic's embedding rows are erased, too"
    kept = _kept(evaluation)
    if kept is not None:
        others = {"classes": "Other images", "answers": "Other questions", "texts": "Other sentences"}[evaluation.kind]
        name = measure(names[RETAIN] or "").label
        parts.append(
            f"{others} keep {kept:.1f} % of their {name} "
            f"({text(Condition.AFTER, RETAIN)} of {text(Condition.BEFORE, RETAIN)})"
        )
    return ". ".join(parts) + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _all(evaluation: Evaluation, dataset: str) -> dict[str, Any]:
    names, rows = evaluation.measures(dataset), _conditions(evaluation)
    return {
        "labels": [measure(name).label for name in names],
        "rows": [(CONDITIONS.get(c, c), [evaluation.score(name, dataset, c).text for name in names]) for c in rows],
    }


def _codes(record: Record) -> list[dict[str, Any]]:
    """Of each table, the surest of the codes that were chosen from it, with what they stand for."""
    known = {(entry["site"], entry["code"]): entry for entry in record.state["codes"]}
    by_round = {r["topic"]: r["thresholds"].get("codes_by_round", [0]) for r in record.in_force.requests}
    groups = []
    for entry in record.state["enrichments"]:
        table = record.enrichments[entry["file"]]
        points = volcano(table, entry["selected"], most=len(table))
        rows = points.rows[points.selected]
        listed = [_code(table, int(row), known) for row in rows[:LISTED]]
        about = {
            "selected": len(rows),
            "drawn": min(len(table), most_drawn(record)),
            "value": points.value,
            "codes": listed,
            "round": entry.get("round", 1),
            "rounds": entry.get("rounds", 1),
            "how": _how(entry.get("thresholds", {})),
            "elsewhere": sum(len(unpack(codes)) for codes in entry.get("elsewhere", {}).values()),
            # Records of version 0.1 do not tell in which round a code was chosen.
            "mixed": len(by_round.get(entry["topic"], [0])) > 1 and "round" not in entry,
        }
        groups.append(dict(entry) | about)
    return groups


def _code(table: Enrichment, row: int, known: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, Any]:
    site, code = str(table.site[row]), int(table.code[row])
    value = (table.pvalue if table.method == "paper" else table.qvalue)[row]
    entry = known.get((site, code), {})
    return {
        "site": site,
        "code": code,
        "target": int(table.target_count[row]),
        "control": int(table.control_count[row]),
        "ratio": f"{table.log2_ratio[row]:.1f}",
        "value": "0" if value == 0 else np.format_float_scientific(value, 1, exp_digits=1),
        "tokens": entry.get("tokens", [])[:4],
        "thumbnail": entry.get("thumbnail"),
    }


def _how(thresholds: Mapping[str, Any]) -> str:
    """Settings in a line; what is nothing, and lists and dicts, are left out."""
    plain = {k: v for k, v in thresholds.items() if v not in (None, 0, "") and not isinstance(v, list | dict)}
    first = [PHRASES[key].format(plain.pop(key)) for key in PHRASES if key in plain]
    parts = first + [f"{key.replace('_', ' ')} {value}" for key, value in plain.items()]
    searches, rounds = thresholds.get("searches"), thresholds.get("codes_by_round")
    if isinstance(rounds, list):
        parts.append(f"in rounds: {', '.join(map(str, rounds))} codes")
    if isinstance(searches, list):
        parts += [_how(search) for search in searches if isinstance(search, Mapping)]
    parts += depth_lines(thresholds)
    return ", ".join(parts)


def _lines(values: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Names and values as text, and whether it is JSON to be set as code."""
    lines = []
    for key, value in values.items():
        if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
            value = ", ".join(map(str, value))
        deep = isinstance(value, list | dict)
        text = json.dumps(value, ensure_ascii=False) if deep else "–" if value is None else str(value)
        lines.append((key.replace("_", " "), text if len(text) <= 2_000 else text[:2_000] + " ...", deep))
    return lines
