"""The report of reproduce_codeunlearn.py: CodeUnlearn's tables and figures over several codebook models."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from codeunlearn_figures import draw, point
from codeunlearn_tables import (
    METRICS,
    cell,
    counts_table,
    drops_table,
    examples,
    recall_table,
    scores_table,
    table,
    times_table,
)
from scipy.stats import bootstrap

from excise import Condition, Sweep

# What stands above it in a file of --docs is left as it is.
MARK = "<!-- Below: made by examples/reproduce/reproduce_codeunlearn.py -->"


@dataclass(frozen=True)
class Results:
    """What was measured, read from its folder.

    Attributes:
        out: the folder.
        models: their names.
        found: by rule and topic, an evaluation a model, at the rule's own S'.
        swept: by rule and topic, a sweep a model.
        synonym: a sweep a model, and `of`, the topic forgotten and the one tested on.
        files: by name of a file, what it holds for each model.
        plain: scores of the plain model on the test split.
        top_s: by rule, its own S'.
        judges: by metric, the signature of its model.
    """

    out: Path
    models: list
    found: dict
    swept: dict
    synonym: list
    of: tuple
    files: dict
    plain: dict
    top_s: dict
    judges: dict

    @classmethod
    def load(cls, out, count, topics, sweep_topics, synonym, top_s, judges):
        """Reads what the first so many models have."""
        folders = [out / f"model-{i}" for i in range(count)]

        def sweeps(words, *folder):
            parts = {word: [each.joinpath(*folder, f"{word}.json") for each in folders] for word in words}
            return {word: [Sweep.load(path) for path in paths] for word, paths in parts.items()}

        found = {rule: sweeps(topics, rule) for rule in top_s}
        swept = {rule: sweeps([t for t in sweep_topics if t in topics], "sweeps", rule) for rule in top_s}
        names = ("model", "quality", "null", "ledger", "runtimes")
        files = {name: [json.loads((each / f"{name}.json").read_text()) for each in folders] for name in names}
        return cls(
            out=out,
            models=files["model"],
            found={rule: {t: [only(s) for s in of_t] for t, of_t in of.items()} for rule, of in found.items()},
            swept=swept,
            synonym=[Sweep.load(each / "synonym.json") for each in folders],
            of=tuple(synonym),
            files=files,
            plain=json.loads((out / "quality.json").read_text()),
            top_s=top_s,
            judges=judges,
        )


def only(sweep):
    """The one evaluation of a sweep."""
    (evaluation,) = sweep.evaluations.values()
    return evaluation


def report(results, docs=None):
    """Writes `report.md` and its figures, and beside a file of `docs` a folder of them."""
    figures = draw(results)
    parts = ["# CodeUnlearn, measured", about(results), "## Targets", targets(results)]
    parts += ["## Topic recall, default preset, and the attacker's figure", recall_table(results, docs)]
    for rule in results.found:
        parts += [f"## Table 2: {rule} preset, S′ = {results.top_s[rule]}", drops_table(results.found[rule])]
    titles = ["Table 1", "Table 4", "Also"]
    for i, topic in enumerate(results.swept["paper"]):
        title = f"## {titles[min(i, 2)]}: sentences with *{topic}*, the paper's preset"
        parts += [title, counts_table(results.swept["paper"][topic]), *examples(results, topic, "heldout")]
    topic = list(results.swept["paper"])[-1]
    parts += [f"## Table 5: sentences without *{topic}*", *examples(results, topic, "heldout_retain", rows=1)]
    parts += [f"## Table 3: seconds to find the codes of *{results.of[0]}*", times_table(results)]
    parts += ["## Figures", "Means over models; the bars at the points are standard deviations."]
    parts += [f"![{title}]({{folder}}{name})" for name, title in figures.items()]
    parts += ["## Scores under the other conditions, default preset", scores_table(results.found["default"])]
    text = "\n\n".join(part for part in parts if part).replace("{folder}", "") + "\n"
    (results.out / "report.md").write_text(text, encoding="utf-8")
    if docs:
        above = docs.read_text(encoding="utf-8").partition(MARK)[0] if docs.exists() else ""
        below = "\n\n".join(part for part in (parts[1:] if above else parts) if part)
        below = below.replace("{folder}", f"{docs.stem}/") + "\n"
        docs.with_suffix("").mkdir(parents=True, exist_ok=True)
        for name in figures:
            shutil.copy(results.out / name, docs.with_suffix("") / name)
        docs.write_text(f"{above}{MARK}\n\n{below}", encoding="utf-8")


def about(results):
    """What was measured on what, and how cells are read."""
    first = next(iter(results.found["default"].values()))[0]
    names = [f"`{name}`" for name in results.models]
    retain, judges = len(first.texts["heldout_retain"]), results.judges
    named = {"bert_score": "BERTScore", "bart_score": "BARTScore"}
    signatures = {label: f"`{judges[n]}`" if n in judges else "missing, no model given" for n, label in named.items()}
    said = ". ".join(f"{label}: {signature}" for label, signature in signatures.items())
    return (
        f"Models: {', '.join(names)}. Test split, greedy, {retain} sentences without the "
        "topic (D_R) and all with it (D'_T, their number in parentheses), in the sweeps over S' as many as the figures "
        "say. Codes were chosen on the train split; the seed of random codes is the model's number. **Each cell: the "
        "mean over codebook models ± their standard deviation, and in brackets how many.** BLEU: sacrebleu, 0 to 100. "
        f"METEOR: stems, no synonyms. {said}."
    )


def interval(values):
    """A mean of shares in percent, with its 95 % bootstrap interval and how many; without those that have no scale."""
    values = 100 * np.array([value for value in values if np.isfinite(value)])
    if len(values) < 2 or np.ptp(values) == 0:
        return f"{values.mean():.1f} [{len(values)}]" if len(values) else "–"
    low, high = bootstrap((values,), np.mean, random_state=0).confidence_interval
    return f"{values.mean():.1f} ({low:.1f} to {high:.1f}) [{len(values)}]"


def targets(results):
    """What is to be reached, a line a figure; over topics and models."""
    plain, quality, ledgers = results.plain, results.files["quality"], results.files["ledger"]
    where = f"on {len(plain['outputs'])} test sentences: plain; codebook models"
    rows = [[f"{label} {where}", against(plain, quality, name), ""] for name, (label, _) in METRICS.items()]
    shares = [share(found["bleu"], plain["bleu"]) for found in quality]
    rows += [["BLEU, codebook models by plain (%)", cell(shares, 1), ""]]
    lines = {}
    for rule, of_rule in results.found.items():
        every = [evaluation for of_topic in of_rule.values() for evaluation in of_topic]
        lost = {topic: [e.drop("recall", "heldout") for e in of] for topic, of in of_rule.items()}
        least = min(lost, key=lambda topic: np.mean(lost[topic]))
        with_random = [e for e in every if Condition.RANDOM in e.scores]
        random = [e.drop("recall", "heldout", Condition.RANDOM) / 100 for e in with_random]
        null = [sum(found[rule].values()) for found in results.files["null"]]
        said = [e.scores[Condition.AFTER]["heldout"]["mentions"] for e in every]
        cost, drop = [e.relative_drop() for e in every], [e.drop("bleu", "heldout") / 100 for e in every]
        lines[rule] = {
            "topic recall lost (%)": interval(np.concatenate(list(lost.values())) / 100),
            "the same, of what is not said with the word cut out (%)": interval([not_guessed(e) for e in every]),
            "the least of a topic (%)": f"{cell(lost[least], 1)}, {least}",
            "held-out sentences that still say a word of the topic (%)": interval(said),
            "relative BLEU drop on D_R (%)": interval(cost),
            "normalised BLEU drop on D'_T (%)": interval(drop),
            "selectivity: the last by the one before": selectivity(cost, drop),
            "least D_R drop where the drop on D'_T passes 100 % (%)": passing(results.swept[rule]),
            "rest of the sentence, BLEU after by before (%)": interval(
                [e.share_left("heldout", Condition.AFTER, "rest_bleu") for e in every]
            ),
            "as many random codes: topic recall lost (%)": interval(random) if random else "",
            "codes found between two halves of the retain set": cell(null, 0),
        }
    rows += [[name, *(of_rule[name] for of_rule in lines.values())] for name in lines["default"]]
    final = [100 - share(ledger["bleu"][-1], ledger["bleu"][0]) for ledger in ledgers]
    what = f"{', '.join(ledgers[0]['topics'])} in one ledger: BLEU drop on {ledgers[0]['rows']} of D_R (%)"
    rows += [[what, cell(final, 1), ""]]
    note = "In parentheses 95 % bootstrap intervals of the mean over topics and models, in brackets how many of them."
    return table(["", *(f"{rule}, S′ = {top_s}" for rule, top_s in results.top_s.items())], rows) + f"\n\n{note}"


def not_guessed(evaluation):
    """The share of topic recall lost, of what is not said with the word cut out."""
    before, after, cut = (
        evaluation.scores[condition]["heldout"]["recall"]
        for condition in (Condition.BEFORE, Condition.AFTER, Condition.CUT)
    )
    return (before - after) / (before - cut) if before != cut else float("nan")


def selectivity(cost, drop):
    """The mean drop on D'_T by that on D_R."""
    pairs = np.array([(one, other) for one, other in zip(cost, drop, strict=True) if np.isfinite([one, other]).all()])
    if not len(pairs):
        return "–"
    costs, drops = pairs.mean(0)
    return f"{drops / costs:.0f} [{len(pairs)}]" if costs > 0 else f"no drop on D_R [{len(pairs)}]"


def passing(swept):
    """The least mean drop on D_R among the S' at which the mean drop on D'_T passes 100 %, of the swept topics."""
    every = [sweep for sweeps in swept.values() for sweep in sweeps]
    points = [point(every, step) for step in every[0].evaluations] if every else []
    passed = [cost for cost, drop in points if drop >= 1]
    if passed:
        return f"{100 * min(passed):.1f} [{len(every)}]"
    most = max((drop for _, drop in points if np.isfinite(drop)), default=float("nan"))
    return f"not passed (at most {100 * most:.0f} %) [{len(every)}]" if np.isfinite(most) else "–"


def share(score, whole):
    """A score in percent of another; not a number where that is 0."""
    return 100 * score / whole if whole else float("nan")


def against(plain, quality, name):
    """A score of the plain model and of the codebook models."""
    values = [found.get(name) for found in (plain, *quality)]
    digits = METRICS[name][1]
    return "missing" if None in values else f"{values[0]:.{digits}f}; {cell(values[1:], digits)}"
