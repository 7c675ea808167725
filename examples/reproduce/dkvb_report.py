"""The report of reproduce_dkvb.py: the paper's tables in Markdown, and its figures."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import sem, t
from tabulate import tabulate

from excise import Frontier

WAYS = ("activations", "examples", "enrichment")
# Okabe and Ito (2008), told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def report(out: Path, forget_class: int, ne: int) -> str:
    """Writes report.md and the figures into a folder of results, and returns the text."""
    seeds = [folder for folder in sorted(out.glob("seed-*")) if (folder / "retraining.json").exists()]
    read = {folder: {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")} for folder in seeds}
    runs = list(read.values())
    data = json.loads((out / "arguments.json").read_text())
    sections = [
        "# Unlearning via Sparse Representations, reproduced\n\n"
        f"`{Path(data['model_name_or_path']).name}` on `{Path(data['dataset_name']).name}`, preset `{data['preset']}`. "
        "Each cell: the mean over seeds, the half-width of its 95 % interval (Student's t), and in brackets how many.",
        table_of_membership(out),
    ]
    if runs:
        sections[1:1] = [
            table_of_accuracies(runs, forget_class),
            table_of_settings(runs, forget_class),
            table_of_forgetting(runs, forget_class, ne),
            table_of_all_classes(runs[0], ne),
        ]
        sections.append(table_of_runtimes(runs))
        figure_of_frontiers(runs, forget_class, out / "figure-2-3-7-frontier.svg")
        figure_of_retraining(runs, out / "figure-4-6-retraining.svg")
        figure_of_mistakes(runs, forget_class, out / "figure-5-mistakes.svg")
    text = "\n\n".join(filter(None, sections)) + "\n"
    (out / "report.md").write_text(text)
    return text


def half_width(values, axis=0):
    """Half-widths of the 95 % intervals of means; 0 of a single value, which has none."""
    values = np.asarray(values, float)
    if values.shape[axis] < 2:
        return np.zeros(np.delete(values.shape, axis))
    return t.ppf(0.975, values.shape[axis] - 1) * sem(values, axis)


def mean(values, scale=100.0, digits=2) -> str:
    """A mean with the half-width of its 95 % interval, in percent, and the number of values."""
    values = np.array(values, float) * scale
    if not np.isfinite(values).all():
        return "-"
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" ± {half_width(values):.{digits}f}"
    return f"{text} ({len(values)})"


def rows_of(header, rows) -> str:
    """A Markdown table."""
    sides = ["left", *["right"] * (len(header) - 1)]
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=sides)


def split_accuracy(by_class, index):
    """Mean accuracy over all classes, all but one, and that one; over those that there are examples of."""
    by_class = np.array(by_class, float)
    return np.nanmean(by_class), np.nanmean(np.delete(by_class, index)), by_class[index]


def table_of_accuracies(runs, index) -> str:
    """Table 1."""
    rows = []
    for name in runs[0]["accuracy"]:
        found = np.array([split_accuracy(run["accuracy"][name], index) for run in runs]).T
        rows.append([name, *map(mean, found)])
    title = "## Table 1: accuracy after training (%)\n\n" + chosen_linear(runs)
    return title + rows_of(["Model, split", "all", "retain", "forget"], rows)


def chosen_linear(runs) -> str:
    """The key-value model against the two linear layers, seed by seed, on the test images."""
    ours, *others = (
        np.array([split_accuracy(run["accuracy"][f"{name}, test"], 0)[0] for run in runs])
        for name in ("DKVB", "linear", "linear, chosen on held-out images")
    )
    words = [mean(ours - other) for other in others]
    return (
        f"All test images: the key-value model is {words[0]} points above the linear layer of table 5, and {words[1]} "
        "above one whose rate, decay and epochs were chosen on a tenth of the training images, held out.\n\n"
    )


def table_of_settings(runs, index) -> str:
    """Other settings on the same encodings, a row each; forgotten via activations."""
    rows = []
    for name in sorted({part for run in runs for part in run if part.startswith("settings-")}):
        made = [run[name] for run in runs if name in run]
        frontiers = [Frontier.from_dict(each["frontier"]) for each in made]
        ends_at = [next((p for p in f.points if p.forget == 0), f.points[-1]) for f in frontiers]
        changes = [f.relative_change(p) / 100 for f, p in zip(frontiers, ends_at, strict=True)]
        columns = [[np.mean(each["accuracy"]) for each in made], [p.forget for p in ends_at], changes]
        pairs = mean([p.removed for p in ends_at], 1, 0)
        rows.append([name.removeprefix("settings-"), mean(columns[0]), pairs, mean(columns[1]), mean(columns[2])])
    if not rows:
        return ""
    header = ["Preset", "accuracy (%)", "pairs masked", "forget (%)", "change of retain (%)"]
    title = (
        f"## Other settings on the same encodings: class {index} forgotten via activations, test images\n\n"
        "By the fewest pairs of the frontier that leave nothing of the class, or by its last point.\n\n"
    )
    return title + rows_of(header, rows)


def frontier_of(run, index, way) -> Frontier:
    return Frontier.from_dict(run[f"class-{index}"][way])


def ends(runs, index, way, ne):
    """Of each seed: forget accuracy, retain accuracy, relative change of it, number of pairs, and what is left.

    They are those of the last point, but of N_e examples where a class has more.
    """
    found = []
    for run in runs:
        frontier = frontier_of(run, index, way)
        last = next((p for p in frontier.points if way == "examples" and p.count == ne), frontier.points[-1])
        start = frontier.points[0]
        found.append(
            (last.forget, last.retain, frontier.relative_change(last) / 100, last.removed, last.forget / start.forget)
        )
    return np.array(found).T


def table_of_forgetting(runs, index, ne) -> str:
    """Tables 2 and 9, and what stands beside them here."""
    rows = []
    for way in [*WAYS, "enriched at q <= 0.05", "random pairs"]:
        forget, retain, change, removed, kept = ends(runs, index, way, ne)
        rows.append([f"DKVB, {way}", mean(removed, 1, 0), *map(mean, (forget, retain, change, kept - 1))])
    for name in runs[0]["baselines"]:
        found = []
        for run in runs:
            made = run["baselines"][name]
            start, end = (made["epochs"][i]["accuracy"] for i in (0, made["chosen"]))
            before = start if name != "trained without the class" else {"retain": np.nan, "forget": np.nan}
            changes = [end[part] / before[part] - 1 if before[part] else np.nan for part in ("retain", "forget")]
            found.append((end["forget"], end["retain"], *changes))
        rows.append([f"linear layer, {name}", "", *map(mean, np.array(found).T)])
    header = ["Way", "pairs masked", "forget (%)", "retain (%)", "change of retain (%)", "change of forget (%)"]
    title = (
        f"## Tables 2 and 9: class {index} forgotten, test accuracy\n\n"
        "Of the linear layer's ten epochs the one is told that is best on the test images themselves, as in the paper "
        "(E.3), which favours the linear layer.\n\n"
    )
    return title + rows_of(header, rows)


def table_of_all_classes(run, ne) -> str:
    """Every class forgotten once, with the first seed: means over classes."""
    classes = sorted(int(name.split("-")[1]) for name in run if name.startswith("class-"))
    rows = []
    for way in [*WAYS, "enriched at q <= 0.05", "random pairs"]:
        by_class = np.hstack([ends([run], index, way, ne) for index in classes])
        forget, retain, change, removed, kept = by_class
        row = [way, mean(removed, 1, 0), mean(forget), f"{100 * forget.max():.2f}", mean(retain)]
        rows.append([*row, mean(change), f"{100 * change.min():.2f}", mean(kept - 1)])
    header = [
        "Way",
        "pairs",
        "forget (%)",
        "worst",
        "retain (%)",
        "change of retain (%)",
        "worst",
        "change of forget (%)",
    ]
    title = f"## Each of {len(classes)} classes forgotten (first seed; mean and interval over classes)\n\n"
    return title + rows_of(header, rows)


def table_of_membership(out: Path) -> str:
    """Table 3, the attack on all else, and what each costs on the other classes."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("class-membership-*.json"))]
    if not found:
        return "## Table 3: not made"
    rows = []
    for name in found[0]:
        attacker, others = ([each[name][part] for each in found] for part in ("attacker", "others"))
        first = [each[f"{name.partition(',')[0]}, as trained"]["others"] for each in found]
        pairs = [each[name]["pairs"] for each in found if "pairs" in each[name]]
        change = [after / before - 1 for after, before in zip(others, first, strict=True)]
        rows.append([name, mean(pairs, 1, 0) if pairs else "", mean(attacker), mean(others), mean(change)])
    title = (
        "## Table 3: class membership: accuracy of the attacker, a half is chance\n\n"
        "Partial forgetting and SCRUB+R choose on validation images how far to go: by the mean loss on the class "
        "against that on a class never seen, without any attack, or by an attacker; SCRUB+R also by its authors' rule, "
        "the error on the forget set. The other classes: mean accuracy on their test images.\n\n"
    )
    return title + rows_of(["Model", "pairs", "attacker (%)", "others (%)", "change of others (%)"], rows)


def table_of_runtimes(runs) -> str:
    """Table 8."""
    names = list(runs[0]["runtimes"])
    rows = [[name, mean([run["runtimes"][name] for run in runs], 1, 3)] for name in names]
    return "## Table 8: seconds\n\n" + rows_of(["What", "seconds, or number"], rows)


def panels(width, height, count=1):
    """A figure, and its axes without a frame."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def figure_of_frontiers(runs, index, path) -> None:
    """Figures 2, 3 and 7: retain against forget accuracy, mean over seeds."""
    figure, (axes,) = panels(6.4, 4.2)
    for way, colour, marker in zip(WAYS, COLOURS, MARKERS, strict=False):
        found = [[(p.forget, p.retain) for p in frontier_of(run, index, way).points] for run in runs]
        points, around = 100 * np.mean(found, 0), 100 * half_width(found)
        label = f"{way} (n = {len(runs)})"
        style = {"marker": marker, "color": colour, "markersize": 4, "elinewidth": 0.8}
        axes.errorbar(*points.T, yerr=around[:, 1], xerr=around[:, 0], label=label, **style)
    axes.set(xlabel="accuracy on the forget class (%)", ylabel="accuracy on the others (%)")
    axes.legend(frameon=False)
    figure.savefig(path)


def figure_of_retraining(runs, path) -> None:
    """Figures 4 and 6: ten epochs on the retain set after unlearning, and of SCRUB."""
    lines = {f"DKVB via {name}": ("retraining", name) for name in runs[0]["retraining"]}
    lines |= {
        f"linear, {name}": ("baselines", name) for name in runs[0]["baselines"] if "3 max" in name or "fine" in name
    }
    figure, both = panels(9, 3.8, 2)
    for axes, which in zip(both, ("retain", "forget"), strict=True):
        for (label, (part, name)), colour, marker in zip(lines.items(), COLOURS, MARKERS, strict=False):
            curves = [[epoch["accuracy"][which] for epoch in run[part][name]["epochs"]] for run in runs]
            means, around = 100 * np.mean(curves, 0), 100 * half_width(curves)
            epochs = np.arange(len(means))
            axes.plot(epochs, means, marker=marker, color=colour, label=f"{label} (n = {len(runs)})", markersize=4)
            axes.fill_between(epochs, means - around, means + around, color=colour, alpha=0.2, linewidth=0)
        axes.set(xlabel="epoch", ylabel=f"test accuracy, {which} (%)")
    both[-1].legend(frameon=False)
    figure.savefig(path)


def figure_of_mistakes(runs, index, path) -> None:
    """Figure 5: mistakes per class on the test set."""
    found = 1 - np.array([run["accuracy"]["DKVB, test"] for run in runs], float)
    share, around = found.mean(0), half_width(found)
    figure, (axes,) = panels(6.4, 3)
    bars = axes.bar(np.arange(len(share)), 100 * share, yerr=100 * around, color=COLOURS[0])
    bars[index].set_color(COLOURS[1])
    axes.set(xlabel="class", ylabel=f"mistakes (% of the class; n = {len(runs)})", xticks=np.arange(len(share)))
    figure.savefig(path)
