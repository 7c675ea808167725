"""Attacks of reproduce_tofu.py on what an attached model has forgotten: by codes, and by the deepest deletion.

The quick ones: the bottleneck left out, codes made again from 8 questions, learnt again from 16, 8 bits. They read at
most 2,900 rows of questions with answers for one deletion, a training step counted as three readings of its rows: of 40
questions that are asked, 680 for all but learning, and for learning 2 models x 3 draws x (5 steps x 16 rows x 3 + 6
times 20 asked).
"""

import copy
import json

from tofu_data import write
from transformers import AutoModelForCausalLM

from excise import Search, Unlearner
from excise.attacks import AskedSets, run_attacks

DEPTHS = ("codes", "rows")


def write_attacks(out, name, folder, never_saw, sets, counts):
    """Adds to `attacks.json` what comes back of a model's deletions, or why it was not measured.

    What was cut off goes on with the attack that it was at.

    Args:
        out: where to.
        name: what the model's bottleneck is called.
        folder: the model, in which nothing is forgotten.
        never_saw: the model of the same recipe that never saw what is forgotten.
        sets: what is forgotten, by rows and by names, whose embedding rows can go.
        counts: numbers of codes to take where tests select none.
    """
    by_rows, by_names = sets
    known = found(out)
    if name in known:
        return
    original = Unlearner.from_pretrained(folder)
    tokenizer, null = original.processor, AutoModelForCausalLM.from_pretrained(never_saw).eval()
    often = [Search("activations", positions="topic", count=count) for count in sorted(counts, reverse=True)]
    searches = [*((by_names, search) for search in often), (by_rows, "default")]
    choices = (original.choose(*search, progress=False) for search in searches)
    codes = next((choice for choice in choices if len(choice)), None)
    known[name] = {}
    attacked = AskedSets(by_names, tokenizer)  # the attacker knows whose answers went
    for depth in DEPTHS:
        removed = Unlearner(copy.deepcopy(original.model), tokenizer)
        try:
            if codes is None:
                raise ValueError("Nothing is selected, so nothing is deleted.")
            removed.delete(codes, by_names if depth == "rows" else by_rows, depth=depth)
        except ValueError as error:
            known[name][depth] = {"not measured": str(error)}
            continue
        options = {"depth": depth, "checkpoint": out / "attacks" / name / depth, "progress": False}
        report = run_attacks(original.model, removed.model, null, attacked, "quick", **options)
        known[name][depth] = report.to_dict()
        print(report, flush=True)
    write(out / "attacks.json", known)


def found(out):
    """What `attacks.json` holds."""
    file = out / "attacks.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def attack_table(out):
    """Lines of `attacks.json` for a table: of what, and what came back."""
    lines = []
    for name, depth, report in ((name, depth, of[depth]) for name, of in found(out).items() for depth in of):
        if "results" not in report:
            lines.append([name, depth, "all", "", "", "", "", "", f"not measured: {report['not measured']}"])
        for one in report.get("results", ()):
            values = [one[which] for which in ("before", "after", "score", "null")]
            lines.append([name, depth, one["attack"], one["measure"], *map(cell, values), one["verdict"]])
    return lines


def cell(value):
    """A value with three digits."""
    return "–" if value is None else f"{value:.3f}"
