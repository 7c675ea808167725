"""Tables of reproduce_codeunlearn.py in Markdown: each cell a mean, a standard deviation and a number of models."""

import os
from pathlib import Path

import numpy as np
from tabulate import tabulate

from excise import Condition
from excise.evaluation import examples_table

# The paper's metrics as it prints them, and digits after the point.
METRICS = {
    "bleu": ("BLEU", 1),
    "meteor": ("METEOR", 3),
    "bert_score_precision": ("BERTScore P", 3),
    "bert_score_recall": ("BERTScore R", 3),
    "bert_score_f1": ("BERTScore F1", 3),
    "bart_score": ("BARTScore", 2),
}
SETS = {"heldout": "D'_T", "heldout_retain": "D_R"}
RECALL = (
    Condition.BEFORE,
    Condition.AFTER,
    Condition.LEFT_OUT,
    Condition.CUT,
    Condition.RANDOM,
    Condition.REFERENCE,
)
OTHERS = (Condition.BEFORE, Condition.LEFT_OUT, Condition.RANDOM, Condition.REFERENCE)
# The S' of the paper's table 1.
SHOWN = (8, 24, 72)
PROOF = Path(__file__).resolve().parents[2] / "docs" / "proof.md"


def table(header, rows):
    """A table in Markdown."""
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def cell(values, digits, drops=None):
    """Mean ± standard deviation over models, where given the same of drops in percent, and how many models."""
    if any(value is None for value in values):
        return "missing"
    text = spread(values, digits)
    if drops is not None:
        text += f" ({spread(drops, 0)})" if np.isfinite(drops).all() else " (–)"
    return f"{text} [{len(values)}]"


def spread(values, digits):
    """Mean ± standard deviation."""
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        return "–"
    mean = f"{values.mean() + 0:.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.{digits}f}"


def values_of(evaluations, condition, dataset, metric):
    """A score of each model; `None` where it was not computed."""
    return [e.scores.get(condition, {}).get(dataset, {}).get(metric) for e in evaluations]


def drops_table(found):
    """Table 2: scores after and, in parentheses, the normalised drop with a minus sign, as the paper prints it."""
    rows = []
    for topic, evaluations in found.items():
        for dataset, label in SETS.items():
            cells = []
            for metric, (_, digits) in METRICS.items():
                values = values_of(evaluations, Condition.AFTER, dataset, metric)
                cells.append(cell(values, digits, [-e.drop(metric, dataset) for e in evaluations]))
            rows.append([f"{topic} ({len(evaluations[0].texts['heldout'])})", label, *cells])
    note = (
        "Scores after; in parentheses the normalised drop in percent: 0 is the model before, -100 the one that never "
        "saw the topic. Where these two score nearly the same, the scale is short and the drop wild."
    )
    return table(["Topic (n)", "Set", *(label for label, _ in METRICS.values())], rows) + f"\n\n{note}"


def scores_table(found):
    """What the normalised drops stand between, and the controls."""
    rows = []
    for topic, evaluations in found.items():
        for dataset, label in SETS.items():
            for condition in OTHERS:
                values = {m: values_of(evaluations, condition, dataset, m) for m in METRICS}
                cells = [cell(values[metric], digits) for metric, (_, digits) in METRICS.items()]
                rows.append([topic, label, condition, *cells])
    return table(["Topic", "Set", "Model", *(label for label, _ in METRICS.values())], rows)


def recall_table(results, docs):
    """Topic recall of each topic under every condition; its last line is pooled over topics."""
    rows, pooled = [], {}
    for topic, evaluations in results.found["default"].items():
        total = evaluations[0].scores[Condition.BEFORE]["heldout"]["total"]
        values = {c: values_of(evaluations, c, "heldout", "recall") for c in RECALL}
        pooled[total, topic] = values
        codes = cell([e.removed for e in evaluations], 0)
        rows.append([topic, str(total), codes, *(cell(values[c], 3) for c in RECALL)])
    total = sum(count for count, _ in pooled)
    means = []
    for condition in RECALL:
        of = [(np.array(values[condition], float), count) for (count, _), values in pooled.items()]
        means.append(cell(sum(hits * count for hits, count in of) / total, 3) if total else "–")
    rows.append(["all", str(total), "", *means])
    inside = docs and docs.resolve().is_relative_to(PROOF.parent)
    link = f"[{PROOF.name}]({os.path.relpath(PROOF, docs.resolve().parent)})" if inside else "docs/proof.md"
    note = (
        f"***{Condition.LEFT_OUT}*** is the attacker's figure: whoever has the weights opens them by the plain class, "
        f"and masked or deleted codes alone hold nothing against that. What deletion with rows holds is in {link}."
    )
    header = ["Topic", "References with a word of it", "Codes removed", *RECALL]
    return table(header, rows) + f"\n\n{note}"


def counts_table(sweeps):
    """Over S', how many codes are removed and how many outputs change."""
    rows = []
    for step in sweeps[0].evaluations:
        every = [sweep.evaluations[step] for sweep in sweeps]
        changed = {name: [100 * changes(e, name) for e in every] for name in SETS}
        rows.append([str(step), cell([e.removed for e in every], 0), *(cell(changed[name], 0) for name in SETS)])
    return table(["S′", "codes removed", *(f"outputs changed, {label} (%)" for label in SETS.values())], rows)


def changes(evaluation, dataset):
    """The share of outputs that are others than before."""
    before, after = (evaluation.outputs[c][dataset] for c in (Condition.BEFORE, Condition.AFTER))
    return np.mean([old != new for old, new in zip(before, after, strict=True)])


def examples(results, topic, dataset, rows=2):
    """Sentences as they come out of each model before and at the S' of table 1; words that differ are bold."""
    shown = [{s: of.evaluations[s] for s in SHOWN if s in of.evaluations} for of in results.swept["paper"][topic]]
    chosen = examples_table(shown[0], rows, dataset).rows if shown[0] else ()
    if not chosen:
        return ["No sentence comes out in another way at any of these S'."]
    parts = []
    for row in chosen:
        columns = [lines_of(str(examples_table(of_model, [row], dataset))) for of_model in shown]
        steps = [f"S′ = {step}" for step in shown[0]]
        names = ["English", "Ground truth", "Codebook model", *steps]
        body = [[name, *(column[i] for column in columns)] for i, name in enumerate(names)]
        for line in body[:2]:
            line[2:] = [""] * (len(line) - 2)
        parts.append(table(["", *results.models], body))
    return parts


def lines_of(text):
    """The second column of a table in Markdown."""
    return [line.split("|")[2].strip() for line in text.splitlines()[2:]]


def times_table(results):
    """Table 3: over models and repetitions."""
    every = results.files["runtimes"]
    rows = []
    for step in every[0]["seconds"]:
        values = [value for of_model in every for value in of_model["seconds"][step]]
        rows.append([step, spread(values, 2), str(len(values))])
    note = ", ".join(f"{name} {value}" for name, value in every[0]["settings"].items())
    return table(["S′", "seconds, mean ± standard deviation", "n (models x repetitions)"], rows) + f"\n\n{note}."
