"""Attacks of reproduce_tofu.py on what an attached model has forgotten: by codes, by rows and by a distilled copy.

The quick ones: the bottleneck left out, codes made again from 8 questions, learnt again from 16, 8 bits. They read at
most 2,900 rows of questions with answers for one deletion, a training step counted as three readings of its rows: of 40
questions that are asked, 680 for all but learning, and for learning 2 models x 3 draws x (5 steps x 16 rows x 3 + 6
times 20 asked).
"""

import copy
import json

from tofu_data import first, settings_of, write
from transformers import AutoModelForCausalLM, TrainingArguments

from excise import Search, Unlearner
from excise.attacks import AskedSets, run_attacks

DEPTHS = ("codes", "rows")
TAUGHT = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8, "learning_rate": 1e-4, "adam_beta2": 0.98}
TAUGHT |= {"max_steps": 300, "warmup_steps": 15, "lr_scheduler_type": "linear", "save_steps": 30, "save_total_limit": 1}
TAUGHT |= {"report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False}


def write_attacks(out, name, folder, never_saw, sets, counts, stay, distilled=""):
    """Adds to `attacks.json` what comes back of a model's deletions, or why it was not measured.

    What was cut off goes on with the attack that it was at.

    Args:
        out: where to.
        name: what the model's bottleneck is called.
        folder: the model, in which nothing is forgotten.
        never_saw: the model of the same recipe that never saw what is forgotten.
        sets: what is forgotten, by rows and by names, whose embedding rows can go.
        counts: numbers of codes to take where tests select none.
        stay: all rows that stay.
        distilled: how a copy learns from the deleted model after noise, `"noise=0.15 budget=0.5 max_steps=150"`: the
            arguments `noise` and `budget` of `distil`, and those of its training. Nothing: none does.
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
    for depth in (*DEPTHS, *(["distilled"] if distilled else ())):
        removed = Unlearner(copy.deepcopy(original.model), tokenizer)
        try:
            if codes is None:
                raise ValueError("Nothing is selected, so nothing is deleted.")
            taught = learning(distilled, stay, out / "distilled" / name) if depth == "distilled" else {}
            removed.delete(codes, by_rows if depth == "codes" else by_names, depth=depth, **taught)
        except ValueError as error:
            known[name][depth] = {"not measured": str(error)}
            continue
        options = {"depth": depth, "checkpoint": out / "attacks" / name / depth, "progress": False}
        report = run_attacks(original.model, removed.model, null, attacked, "quick", **options)
        known[name][depth] = report.to_dict()
        print(report, flush=True)
    write(out / "attacks.json", known)


def learning(spec, stay, folder):
    """How a copy learns from a deleted model, for `Unlearner.delete`; 40 of the rows that it learns tell how well."""
    values = settings_of(spec.split())
    own = {name: values.pop(name) for name in ("noise", "budget") if name in values}
    args = TrainingArguments(str(folder), **TAUGHT | values)
    rows = stay.select_columns(["question", "answer"])
    return {"distillation": own | {"retain": rows, "heldout": first(rows, 40), "args": args, "output_dir": folder}}


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
