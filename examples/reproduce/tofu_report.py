"""Table of what reproduce_tofu.py has measured, in Markdown and JSON."""

import json

import numpy as np
from tabulate import tabulate
from tofu_attacks import attack_table

from excise.report import read_open_unlearning

# Measures of a line, by what the table calls them.
MEASURES = {
    "forget_quality": "forget quality (KS p)",
    "model_utility": "model utility",
    "forget_Q_A_Prob": "forget probability",
    "forget_Q_A_ROUGE": "forget ROUGE-L",
    "forget_truth_ratio": "forget truth ratio",
    "retain_Q_A_Prob": "retain probability",
    "extraction_strength": "extraction strength",
    "exact_memorization": "exact memorization",
    "privleak": "privacy leakage",
}
# Models that nothing is forgotten by, first; then those with bottlenecks, `with-...`.
FIRST = ("before", "never-saw-it")


def write_report(out, size):
    """Writes `tofu.md` and `tofu.json` of what is there, and returns the text.

    Args:
        out: folder of what was measured.
        size: what was forgotten of what.
    """
    models = [*FIRST, *sorted(folder.name for folder in (out / "scores").glob("with-*"))]
    lines = [line(name.replace("-", " "), [out / "scores" / name]) for name in models if there(out / "scores" / name)]
    before = next((of["model_utility"] for of in lines if of["method"] == "before"), None)
    for folder in sorted((out / "methods").glob("*")):
        runs = {
            place: json.loads((place / "run.json").read_text())
            for place in sorted(folder.glob("seed-*/"))
            if (place / "run.json").exists()
        }
        for name in sorted({run["method"] for run in runs.values()}):
            if seeds := [place for place, run in runs.items() if "failed" not in run]:
                lines.append(line(name, seeds))
            if failed := [run["failed"] for run in runs.values() if "failed" in run]:
                why = "nothing selected" if failed[0] == "nothing selected" else "diverged"
                lines.append(line(f"{name}: {why}", []) | {"seeds": len(failed)})
    for of in lines:
        of["utility, relative"] = of["model_utility"] / before if before and of["model_utility"] is not None else None
    (out / "tofu.json").write_text(json.dumps({"size": size, "lines": lines}, indent=1) + "\n", encoding="utf-8")
    header = ["method", "seeds", *MEASURES.values(), "utility, relative", "seconds"]
    cells = [
        [of["method"], str(of["seeds"]), *(cell(of[name]) for name in (*MEASURES, "utility, relative", "seconds"))]
        for of in lines
    ]
    text = f"# TOFU, {size}\n\n" + tabulate(cells, header, tablefmt="github", disable_numparse=True) + "\n"
    if attacks := attack_table(out):
        header = ["model", "deletion", "attack", "measure", "before", "deleted", "attacked", "null", "verdict"]
        text += "\n## What an attacker gets back\n\n"
        text += tabulate(attacks, header, tablefmt="github", disable_numparse=True) + "\n"
    (out / "tofu.md").write_text(text, encoding="utf-8")
    return text


def there(folder):
    """Whether a model has been measured."""
    return (folder / "TOFU_EVAL.json").exists()


def line(name, folders):
    """What a method is measured at, the mean over seeds."""
    summaries = [read_open_unlearning(folder).summary for folder in folders]
    runs = [json.loads(file.read_text()) for folder in folders if (file := folder / "run.json").exists()]
    of = {"method": name, "seeds": len(folders)}
    for measure in MEASURES:
        values = [summary[measure] for summary in summaries if measure in summary]
        of[measure] = float(np.mean(values)) if values else None
    of["seconds"] = float(np.mean([run["seconds"] for run in runs])) if runs else None
    return of


def cell(value):
    """A value with three digits, small ones as powers of ten."""
    return "–" if value is None else f"{value:.3g}"
