"""Figures of reproduce_codeunlearn.py: drops over S' (figures 3 to 5), the frontier, and topic recall."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from excise import Condition

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
# Okabe and Ito (2008), told apart with any colour vision.
RULES = {"default": "#0072B2", "paper": "#D55E00"}
LINES = {
    "bleu": ("BLEU", "#0072B2", "o"),
    "meteor": ("METEOR", "#D55E00", "s"),
    "bert_score_f1": ("BERTScore F1", "#009E73", "^"),
    "bart_score": ("BARTScore", "#CC79A7", "D"),
}
BARS = {
    Condition.BEFORE: "0.7",
    Condition.RANDOM: "#E69F00",
    Condition.LEFT_OUT: "#CC79A7",
    Condition.CUT: "#009E73",
    Condition.AFTER: "#0072B2",
}
# The same to the byte for the same numbers.
STYLE = {"svg.hashsalt": "excise", "svg.fonttype": "none", "font.size": 9}


def draw(results):
    """Draws all figures into the folder of the results; their titles by file."""
    figures = {}
    with rc_context(STYLE):
        for number, (topic, sweeps) in enumerate(results.swept["paper"].items(), start=3):
            name, paper = f"drop-{topic}.svg", f"figure {number}" if number < 5 else "as figures 3 and 4"
            drops(results.out / name, sweeps, topic)
            figures[name] = f"Change over S' after unlearning {topic}, the paper's preset ({paper})"
        forgotten, tested = results.of
        drops(results.out / "synonym.svg", results.synonym, tested)
        figures["synonym.svg"] = f"Unlearning {forgotten}, default preset, tested on {tested} (figure 5)"
        frontier(results.out / "frontier.svg", results)
        figures["frontier.svg"] = "How much is forgotten at what cost, over S', beside the paper's table 2"
        recalls(results.out / "recall.svg", results.found["default"])
        figures["recall.svg"] = "Topic recall before, under the controls, with the bottleneck left out, and after"
    return figures


def save(figure, path):
    """Writes a figure without a date."""
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def drops(path, sweeps, tested):
    """Percent change of each metric from the model before, on both sets, mean over models."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    steps, first = list(sweeps[0].evaluations), next(iter(sweeps[0].evaluations.values()))
    codes = [np.mean([sweep.evaluations[step].removed for sweep in sweeps]) for step in steps]
    titles = {"heldout": f"with {tested}: D'_T", "heldout_retain": "without: D_R"}
    for axes, (dataset, title) in zip(panels, titles.items(), strict=True):
        for metric, (label, colour, marker) in LINES.items():
            values = [[s.evaluations[step].change(metric, dataset) for step in steps] for s in sweeps]
            if not np.isfinite(values).all():
                continue  # not computed
            means, around = np.mean(values, 0), np.std(values, 0, ddof=1) if len(values) > 1 else None
            places, look = np.arange(1, len(steps) + 1), {"color": colour, "marker": marker, "markersize": 4}
            axes.errorbar(places, means, yerr=around, label=label, elinewidth=0.8, capsize=2, **look)
            axes.plot([0, 1], [0, means[0]], color=colour)
        axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
        axes.set_title(f"{title}; {len(first.texts[dataset])} sentences, {len(sweeps)} models")
        axes.set_xticks(
            range(len(steps) + 1), ["original", *(f"{s}\n({n:.0f})" for s, n in zip(steps, codes, strict=True))]
        )
        axes.set_xlabel("S′ (codes removed, mean)")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("change from the original model (%)")
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(frameon=False)
    save(figure, path)


def frontier(path, results):
    """How much is forgotten at what cost, over S', beside the paper's table 2."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for rule, by_topic in results.swept.items():
        every = [sweep for sweeps in by_topic.values() for sweep in sweeps]
        steps = list(every[0].evaluations)
        points = 100 * np.array([point(every, step) for step in steps])
        label = f"{rule} preset, over S′ (mean of {', '.join(by_topic)}; {len(every)} runs)"
        axes.plot(*points.T, "o-", color=RULES[rule], label=label)
        axes.annotate(f"S′ = {steps[0]}", points[0], xytext=(6, -2), textcoords="offset points", fontsize=7)
    axes.plot(*np.array(list(PAPER.values())).T, "x", color="0.4", label="the paper, its own model and data, S′ = 104")
    axes.axhline(100, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xlabel("BLEU drop without the topic, D_R (%; ours relative, the paper's normalised)")
    axes.set_ylabel("normalised BLEU drop with the topic, D'_T (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def point(sweeps, step):
    """Mean drops over topics and models, on D_R (relative) and on D'_T (normalised)."""
    evaluations = [sweep.evaluations[step] for sweep in sweeps]
    forgotten = [e.drop("bleu", "heldout") / 100 for e in evaluations]
    return np.mean([e.relative_drop() for e in evaluations]), np.mean(forgotten)


def recalls(path, found):
    """Topic recall, a group of bars a topic, a dot a model."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.85 / len(BARS)
    for i, (condition, colour) in enumerate(BARS.items()):
        if not all(condition in e.scores for of_topic in found.values() for e in of_topic):
            continue
        values = [[e.scores[condition]["heldout"]["recall"] for e in of_topic] for of_topic in found.values()]
        places = np.arange(len(found)) + width * (i - (len(BARS) - 1) / 2)
        axes.bar(places, np.mean(values, 1), 0.95 * width, color=colour, label=condition)
        for place, of_topic in zip(places, values, strict=True):
            axes.plot([place] * len(of_topic), of_topic, ".", color="black", markersize=3)
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylabel("topic recall")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, ncols=5, loc="outside upper center")
    save(figure, path)
