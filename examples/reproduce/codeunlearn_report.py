"""Tables and figures of what reproduce_codeunlearn.py has measured."""

import json

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import bootstrap
from tabulate import tabulate

from excise import Condition, Sweep
from excise.evaluation import TopicsTable, examples_table
from excise.report import plot_sweep

# Table 2 of the paper: normalised BLEU drop in percent on D_R and on D'_T.
PAPER = {
    "Love": (37.80, 112.52),
    "Julien": (65.70, 113.12),
    "Captain": (9.72, 72.10),
    "Poor": (26.64, 70.61),
    "Wish": (87.65, 144.83),
    "White": (10.09, 157.45),
    "Black": (16.12, 85.16),
}
COLOURS = {"default": "#0072B2", "paper": "#D55E00"}


def report(out, topics, top_s, synonym):
    """Writes `report.md` and its figures.

    Args:
        out: folder of what was measured.
        topics: their names.
        top_s: by rule, the S' at which the tables are.
        synonym: the topic forgotten and the one tested on.
    """
    models = sorted(out.glob("model-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    found = {
        rule: [{t: only(m / rule / f"{t}.json") for t in topics} for m in models if (m / rule).exists()]
        for rule in top_s
    }
    swept = {rule: {t: Sweep.load(out / "sweeps" / rule / f"{t}.json") for t in topics} for rule in top_s}
    first = swept["default"]
    parts = ["# CodeUnlearn, measured", targets(out, models, found, swept, top_s)]
    parts += ["## Topic recall, default preset", recall_table(found["default"])]
    for rule, by_model in found.items():
        for i, evaluations in enumerate(by_model):
            table = TopicsTable(tuple(evaluations.values()), top_s[rule])
            parts += [f"## Table 2: {rule} preset, model {i}", table.to_markdown()]
    parts += ["## Tables 1 and 4: examples", *(str(examples_table(few(first[t]))) for t in topics)]
    parts += ["## Table 5: without the topic", str(examples_table(few(first[topics[0]]), dataset="heldout_retain"))]
    parts += ["## Table 3: run times", (out / "runtimes.md").read_text().strip()]
    for topic in topics:
        plot_sweep(first[topic], out / f"sweep-{topic}.svg", ["bleu", "recall", "rest_bleu"])
    plot_sweep(Sweep.load(out / "synonym.json"), out / "synonym.svg", ["bleu", "recall"])
    frontier(out / "frontier.svg", swept)
    recalls(out / "recall.svg", found["default"])
    parts += ["## Figures", "![How much is forgotten at what cost](frontier.svg)", "![Topic recall](recall.svg)"]
    parts += [f"![Sweep, {topic}](sweep-{topic}.svg)" for topic in topics]
    parts += [f"![Forgetting {synonym[0]}, tested on {synonym[1]}](synonym.svg)"]
    (out / "report.md").write_text("\n\n".join(part for part in parts if part) + "\n")


def markdown(header, rows):
    """A table in Markdown."""
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def only(path):
    """The one evaluation of a file."""
    (evaluation,) = Sweep.load(path).evaluations.values()
    return evaluation


def few(sweep):
    """A sweep's evaluations at the S' of the paper's table 1."""
    return {top_s: sweep.evaluations[top_s] for top_s in (8, 24, 72) if top_s in sweep.evaluations}


def mean(values):
    """A mean of shares in percent, with its 95 % bootstrap interval."""
    values = 100 * np.asarray(values)
    if len(values) < 2 or np.ptp(values) == 0:
        return f"{values.mean():.1f}"
    low, high = bootstrap((values,), np.mean, random_state=0).confidence_interval
    return f"{values.mean():.1f} ({low:.1f} to {high:.1f})"


def targets(out, models, evaluations, swept, top_s):
    """What is to be reached, one line a figure; means over topics and models."""
    plain = json.loads((out / "quality.json").read_text())
    qualities = [json.loads((m / "quality.json").read_text())["bleu"] for m in models]
    ledgers = [json.loads((m / "ledger.json").read_text()) for m in models]
    nulls = [json.loads((m / "null.json").read_text()) for m in models]
    rows = [
        ["BLEU on the test split, share of the plain model's (%)", mean([q / plain["bleu"] for q in qualities]), ""]
    ]
    columns = {}
    for rule, found in evaluations.items():
        all_of = [evaluation for by_topic in found for evaluation in by_topic.values()]
        lost = [e.normalized_drop("recall") for e in all_of]
        cost, drop = [e.relative_drop() for e in all_of], [e.normalized_drop() for e in all_of]
        said = [e.scores[Condition.AFTER]["heldout"]["mentions"] for e in all_of]
        rest = [
            e.scores[Condition.AFTER]["heldout"]["rest_bleu"] / e.scores[Condition.BEFORE]["heldout"]["rest_bleu"]
            for e in all_of
        ]
        found_in_nothing = sum(sum(null.get(rule, {}).values()) for null in nulls)
        random = [
            e.normalized_drop("recall", condition=Condition.RANDOM) for e in all_of if Condition.RANDOM in e.scores
        ]
        told = [e.normalized_drop("recall", reference=Condition.CUT) for e in all_of]
        columns[rule] = {
            "topic recall lost (%)": mean(lost),
            "least topic recall lost, mean over models (%)": f"{100 * worst(lost, len(found)):.1f}",
            "topic recall lost, of what the model does not guess from the rest of the sentence (%)": mean(told),
            "held-out sentences that still say a word of the topic (%)": mean(said),
            "relative BLEU drop on D_R (%)": mean(cost),
            "normalised BLEU drop on D'_T (%)": mean(drop),
            "selectivity": f"{np.mean(drop) / np.mean(cost):.0f}" if np.mean(cost) > 0 else "no drop on D_R",
            "least D_R drop where the drop on D'_T passes 100 % (%)": passing(swept[rule]),
            "rest of the sentence, BLEU after / before": f"{np.mean(rest):.3f}",
            "as many random codes: topic recall lost (%)": mean(random) if random else "",
            "null control: codes found, all runs": str(found_in_nothing),
        }
    rows += [[name, columns["default"][name], columns["paper"][name]] for name in columns["default"]]
    final = [1 - ledger["bleu"][-1] / ledger["bleu"][0] for ledger in ledgers]
    rows += [[f"{', '.join(ledgers[0]['topics'])} in one ledger: relative BLEU drop on D_R (%)", mean(final), ""]]
    sizes = [len(evaluation.texts["heldout"]) for evaluation in evaluations["default"][0].values()]
    headers = [f"{rule} preset, S′ = {top_s[rule]}, models: {len(found)}" for rule, found in evaluations.items()]
    return (
        markdown(["", *headers], rows)
        + f"\n\n{len(models)} models, {len(sizes)} topics with {sum(sizes)} held-out sentences; plain model: BLEU "
        f"{plain['bleu']:.1f} on {plain['rows']} test sentences, codebook models "
        f"{', '.join(f'{bleu:.1f}' for bleu in qualities)}. "
        "In parentheses: 95 % bootstrap intervals of the mean over topics and models."
    )


def recall_table(models):
    """Topic recall of each topic, means over models; pooled over topics in the last line."""
    conditions = (Condition.BEFORE, Condition.AFTER, Condition.CUT, Condition.RANDOM, Condition.REFERENCE)
    rows, pooled = [], np.zeros(len(conditions))
    for topic, first in models[0].items():
        values = [[model[topic].scores[condition]["heldout"]["recall"] for condition in conditions] for model in models]
        total = first.scores[Condition.BEFORE]["heldout"]["total"]
        pooled += np.mean(values, axis=0) * total
        codes = np.mean([model[topic].removed for model in models])
        rows.append([topic, str(total), f"{codes:.0f}", *(f"{value:.3f}" for value in np.mean(values, axis=0))])
    total = sum(int(row[1]) for row in rows)
    rows.append(["all", str(total), "", *(f"{value:.3f}" for value in pooled / total)])
    return markdown(["Topic", "References with a word of it", "Codes removed", *conditions], rows)


def worst(values, models):
    """The least over topics of the mean over models."""
    return np.asarray(values).reshape(models, -1).mean(0).min()


def passing(sweeps):
    """The least mean drop on D_R among the S' at which the mean drop on D'_T passes 100 %."""
    steps = next(iter(sweeps.values())).evaluations
    points = [frontier_point(sweeps, step) for step in steps]
    passed = [cost for cost, drop in points if drop >= 1]
    return (
        f"{100 * min(passed):.1f}" if passed else f"not passed (at most {100 * max(drop for _, drop in points):.0f} %)"
    )


def frontier_point(sweeps, step):
    """Mean drops over topics, on D_R (relative) and on D'_T (normalised)."""
    evaluations = [sweep.evaluations[step] for sweep in sweeps.values()]
    return np.mean([e.relative_drop() for e in evaluations]), np.mean([e.normalized_drop() for e in evaluations])


def frontier(path, swept):
    """How much is forgotten at what cost, over S', beside the paper's table 2."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for rule, sweeps in swept.items():
        steps = list(next(iter(sweeps.values())).evaluations)
        points = 100 * np.array([frontier_point(sweeps, step) for step in steps])
        axes.plot(*points.T, "o-", color=COLOURS[rule], label=f"{rule} preset, over S′ (mean of the topics)")
        axes.annotate(f"S′ = {steps[0]}", points[0], xytext=(6, -2), textcoords="offset points", fontsize=7)
    axes.plot(
        *np.array(list(PAPER.values())).T,
        "x",
        color="0.4",
        label="the paper, S′ = 104",
    )
    axes.axhline(100, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xlabel("BLEU drop without the topic, $D_R$ (%)")
    axes.set_ylabel("normalised BLEU drop with the topic, $D'_T$ (%)")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def recalls(path, models):
    """Topic recall before, after and under the controls, a group of bars a topic."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    topics = list(models[0])
    colours = {
        Condition.BEFORE: "0.7",
        Condition.RANDOM: "#E69F00",
        Condition.CUT: "#009E73",
        Condition.AFTER: "#0072B2",
    }
    for i, (condition, colour) in enumerate(colours.items()):
        values = [[model[t].scores[condition]["heldout"]["recall"] for t in topics] for model in models]
        heights, places = np.mean(values, axis=0), np.arange(len(topics)) + 0.21 * (i - 1.5)
        axes.bar(places, heights, 0.2, color=colour, label=condition)
        for row in values:
            axes.plot(places, row, ".", color="black", markersize=3)
    axes.set_xticks(range(len(topics)), topics)
    axes.set_ylabel("topic recall")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=4, loc="upper right")
    figure.savefig(path, metadata={"Date": None})
