"""Tables of what reproduce_proof.py has measured, in Markdown."""

import itertools
import json

import numpy as np
from tabulate import tabulate

from excise.report import AttackReport, plot_relearning

VERDICTS = ("not withstood", "not measured", "withstood")
ATTACKS = ("left out", "made again", "learnt again", "rounded")


def write_report(out, topics, full, depths):
    """Writes `proof.md`, and a picture of relearning for each full topic.

    Args:
        out: folder of what was measured.
        topics: their names.
        full: those with all attacks and the baselines.
        depths: of the deletions.
    """
    models = sorted(out.glob("model-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    parts = ["# Deletions under attack, measured"]
    for depth in (*depths, "rows alone"):
        parts += [f"## Quick attacks, deletion of {depth}", quick_table(models, topics, depth)]
    parts += ["## What it costs elsewhere", quality_table(models, topics)]
    for word in full:
        for depth in depths:
            file = out / "full" / word / f"all-{depth}.json"
            if file.exists():
                report = read_report(file)
                parts += [f"## All attacks on *{word}*, deletion of {depth}", attacks_table(report)]
                if any(result.attack == "learnt again" and result.attempts for result in report.results):
                    plot_relearning(report, out / f"relearning-{word}-{depth}.svg")
                    parts += [f"![Relearning of {word}](relearning-{word}-{depth}.svg)"]
        if rows := baseline_rows(out / "full" / word / "baselines"):
            parts += [f"## Baselines on *{word}*, on the model without a codebook", markdown(rows)]
    if rows := [distilled_row(file) for file in sorted((out / "distilled").glob("*.json"))]:
        parts += ["## Distilled deletions", markdown(rows)]
    (out / "proof.md").write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def markdown(rows):
    """Rows as a table."""
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) if rows else ""


def read(file):
    """What was measured, without the time of the measuring."""
    return {name: value for name, value in json.loads(file.read_text()).items() if name != "all_seconds"}


def read_report(file):
    """An attack report."""
    return AttackReport.from_dict(read(file))


def quick_table(models, topics, depth):
    """A row a topic, means over the models: before, deleted, and each attack beside what never saw it."""
    rows = []
    for word in topics:
        reports = [read_report(f) for m in models if (f := m / word / f"quick-{depth.replace(' ', '-')}.json").exists()]
        if not reports:
            continue
        results = [{result.attack: result for result in report.results} for report in reports]
        first = [one["left out"] for one in results]
        row = {"topic": word, "models": str(len(reports)), "cases": len_of(first[0])}
        row |= {"before": mean(r.before for r in first), "deleted": mean(r.after for r in first)}
        for attack in ATTACKS:
            of_attack = [one[attack] for one in results if attack in one]
            nulls = "" if attack == "learnt again" else f" ({mean(r.null for r in of_attack)})"
            row[attack] = f"{spread(r.score for r in of_attack)}{nulls}: {verdicts(of_attack)}"
        row["seconds"] = f"{np.mean([report.seconds for report in reports]):.0f}"
        rows.append(row)
    return markdown(rows)


def quality_table(models, topics):
    """A row a topic: relative BLEU drop elsewhere, and BLEU where its pieces have another sense."""
    rows = []
    for word in topics:
        made = [read(f) for m in models if (f := m / word / "quality.json").exists()]
        if not made:
            continue
        row = {"topic": word, "models": len(made), "sentences": made[0]["rows"]}
        for name in ("codes", "rows", "rows alone"):
            drops = [100 * (1 - of["scores"][name]["bleu"] / of["scores"]["before"]["bleu"]) for of in made]
            ends = f" [{min(drops):.2f}, {max(drops):.2f}]" if len(drops) > 1 else ""
            row[f"drop in %, {name}"] = f"{np.mean(drops):.2f}{ends}"
        row["other senses"] = made[0]["senses"]
        for name in ("before", "codes", "rows", "rows alone", "never saw it"):
            values = [of["scores"][name].get("other_senses") for of in made]
            row[f"BLEU there, {name}"] = "" if None in values else f"{np.mean(values):.1f}"
        rows.append(row)
    return markdown(rows)


def attacks_table(report):
    """A row an attack."""
    return markdown([result.row() for result in report.results])


def distilled_row(file):
    """What a distilled deletion costs, and what it holds."""
    made = read(file)
    of, report = made["distilled"], AttackReport.from_dict(made["report"])
    row = {"topic": report.topic, "noise": f"{of['noise']:g}", "rise of the loss": f"{of['rise']:.1%}"}
    row["drop in BLEU"] = f"{1 - made['bleu']['distilled'] / made['bleu']['before']:.1%}"
    row |= {r.attack: f"{r.written(r.score)} ({r.written(r.null)}): {r.verdict}" for r in report.results}
    return row | {"seconds of distilling": f"{of['seconds']:.0f}"}


def class_rows(out, names):
    """A row a class and depth: accuracy of all models on the class and on others, and each attack beside its null."""
    rows = []
    for name, depth in itertools.product(names, ("codes", "rows", "rows alone")):
        place = out / name / depth.replace(" ", "-")
        if not (place / "attacks.json").exists():
            continue
        accuracy, report = read(place / "accuracy.json"), read_report(place / "attacks.json")
        row = {"class": name, "depth": depth}
        for part, of in (("heldout", "class"), ("heldout_retain", "others")):
            shares = [100 * scores[part]["hits"] / scores[part]["total"] for scores in accuracy.values()]
            row[f"{of}: {', '.join(accuracy)}"] = ", ".join(f"{share:.1f}" for share in shares)
        for result in report.results:
            score, null = (result.written(value) for value in (result.score, result.null))
            row[result.attack] = f"{score} ({null}): {result.verdict}"
        rows.append(row | {"seconds": f"{report.seconds:.0f}"})
    return rows


def baseline_rows(folder):
    """A row a baseline."""
    rows = []
    for file in sorted(folder.glob("*.json")):
        made = read(file)
        extra = {name: made.pop(name) for name in ("bleu", "making_seconds", "hits")}
        report = AttackReport.from_dict(made)
        of = {result.attack: result for result in report.results}
        row = {"baseline": file.stem.replace("-", " "), "hits": f"{extra['hits']} of {len_of(of['left out'])}"}
        row |= {"BLEU elsewhere": f"{extra['bleu']:.1f}", "seconds": f"{extra['making_seconds']:.0f}"}
        rows.append(row | {name: f"{result.written(result.score)}: {result.verdict}" for name, result in of.items()})
    return rows


def len_of(result):
    """Number of cases of an attack."""
    return result.attempts[0].total if result.attempts else 0


def verdicts(results):
    """How often each verdict was given, the worst first."""
    counts = [(sum(r.verdict == verdict for r in results), verdict) for verdict in VERDICTS]
    told = [(f"{count} " if len(results) > 1 else "") + verdict for count, verdict in counts if count]
    return ", ".join(told)


def spread(values):
    """The mean of those that were measured; of several that differ, with the smallest and largest."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or f"{min(known):.3f}" == f"{max(known):.3f}":
        return mean(known)
    return f"{np.mean(known):.3f} [{min(known):.3f}, {max(known):.3f}]"


def mean(values):
    """The mean of those that were measured."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "–"
