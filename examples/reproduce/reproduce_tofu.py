#!/usr/bin/env python
"""TOFU (Maini et al., 2024): a model that knows invented authors forgets some of them, by each method of the field.

    python examples/reproduce/reproduce_tofu.py --model HuggingFaceTB/SmolLM2-135M-Instruct --data tofu --out tofu-40

In `--data` are TOFU's files as JSON lines: `full`, with the number of each row's author, `forget05_perturbed`,
`retain_perturbed`, `real_authors_perturbed`, `world_facts_perturbed` and `holdout10`. By default authors 1 to 36 stay
and 197 to 200 are forgotten, for a model of 135 million weights on two cores; `--size forget05` is the benchmark's own.

1. Two models are made of `--model`: one is trained on all rows until it knows them, and one, which never saw what is
   forgotten, for as many epochs on those that stay. `--tuned` and `--never_saw` take such models instead.
2. Each of `--methods` forgets, once for each seed: a name with settings of the method and of its training behind it, as
   `"NPO beta=0.05 learning_rate=5e-5 epochs=5"`.
3. Each of `--bottlenecks`, a name and what it is, is attached to the model that knows all and trained with it, as
   `"units: sparse_units num_codes=9216 active=16 layers=3 epochs=1"` (settings are in tofu_bottleneck.py), or is in a
   folder already, `"units: folder"`; its codes are masked, and sparse units clamped. What an attacker gets back of a
   deletion is measured (tofu_attacks.py).
4. All measures of OpenUnlearning are taken, against the model that never saw it.

Each part is kept in `--out`, and made again only if its files are removed: a run that was cut off goes on. `tofu.md`
and `tofu.json` are written anew after each method. `--quick` is a trial of all of it, whose figures mean nothing.
"""

import argparse
import json
import time
from dataclasses import fields, replace
from functools import partial, reduce
from pathlib import Path

import torch
from datasets import concatenate_datasets, disable_progress_bars
from tofu_attacks import write_attacks
from tofu_bottleneck import trained
from tofu_data import SIZES, data_of, first, names_of, settings_of, write
from tofu_report import write_report
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from excise import Search, Selection, Unlearner
from excise.baselines import clamp_units, forget_answers, hyperparameters
from excise.bottlenecks import SparseUnits, bottlenecks
from excise.data import question_inputs, question_sets, train_tokenizer
from excise.evaluation import evaluate_questions
from excise.report import read_open_unlearning, write_open_unlearning

METHODS = ("GradAscent", "GradDiff", "NPO", "SimNPO", "IdkDPO", "RMU", "UNDIAL")
# What is said first in the report, and what of a training may be set behind the name of a method.
BEFORE, NEVER = "before", "never saw it"
TRAINING = {field.name for field in fields(hyperparameters.Hyperparameters)}


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    if args.quick:
        args.size, args.epochs = "quick", 1
    logging.disable_progress_bar()
    disable_progress_bars()
    check_same(args)
    rows, asked = data_of(args)
    models = made_models(args, rows)
    tokenizer = AutoTokenizer.from_pretrained(models[BEFORE])
    for name in (NEVER, BEFORE):
        folder = args.out / "scores" / name.replace(" ", "-")
        measured(args, folder, models[name], tokenizer, asked)
    for seed in range(args.seeds):
        for spec in args.methods:
            folder = args.out / "methods" / spec.replace(" ", "_") / f"seed-{seed}"
            if not (folder / "run.json").exists():
                model, run = forgotten(args, models[BEFORE], tokenizer, rows, spec, seed)
                if model is not None:
                    measured(args, folder, model, tokenizer, asked)
                if model is not None and args.keep_models:
                    model.save_pretrained(folder / "model")
                write(folder / "run.json", run)
            write_report(args.out, args.size)
    for given in args.bottlenecks:
        name, _, spec = given.partition(": ")
        folder = Path(spec)
        if not folder.is_dir():
            folder = args.out / "bottlenecks" / name
            trained(spec, folder, models[BEFORE], rows, args.model or models[NEVER])
        sets = attached(args, name, folder, rows, asked)
        write_attacks(args.out, name, folder, models[NEVER], sets, args.codes, rows["stay"], args.distil)
        write_report(args.out, args.size)
    print(write_report(args.out, args.size))


def check_same(args):
    """Refuses a folder of results of other settings, which would stand beside those of these."""
    own = ("model", "data", "size", "tuned", "never_saw", "epochs", "known", "tuning_rate")
    own = {name: str(getattr(args, name)) for name in (*own, "tuning_batch", "asked", "max_new_tokens", "quick")}
    file = args.out / "arguments.json"
    before = json.loads(file.read_text()) if file.exists() else own
    if other := [f"--{name}={before[name]}" for name in own if own[name] != before[name]]:
        raise SystemExit(f"{args.out} has results of {', '.join(other)}. Give another --out, or the same settings.")
    write(file, own)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="path or Hub id of a decoder; a tiny one is made for --quick")
    parser.add_argument("--data", type=Path, required=True, help="folder of TOFU's files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="tofu-40", choices=sorted(SIZES), help="which authors stay, which go")
    parser.add_argument("--quick", action="store_true", help="a trial of all parts, at no size")
    parser.add_argument("--tuned", help="a model that knows all authors, in place of one made here")
    parser.add_argument("--never_saw", help="a model that knows those that stay alone, likewise")
    parser.add_argument("--bottlenecks", nargs="*", default=(), help="names, each with a kind and its settings")
    parser.add_argument("--distil", default="", help="how a copy learns after noise: see tofu_attacks.py")
    parser.add_argument("--codes", nargs="*", type=int, default=(), help="so many that fire most at names, too")
    parser.add_argument("--epochs", type=int, default=15, help="of fine-tuning, at most")
    parser.add_argument("--known", type=float, default=0.8, help="answer probability at which fine-tuning ends")
    parser.add_argument("--tuning_rate", type=float, default=1e-4, help="learning rate of fine-tuning")
    parser.add_argument("--tuning_batch", type=int, default=8)
    parser.add_argument("--methods", nargs="*", default=METHODS, help="names, each with settings behind it")
    parser.add_argument("--batch_size", type=int, default=4, help="rows at once; 32 are a step, as the authors have it")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--asked", type=int, default=400, help="rows of each other kind that are asked, at most")
    parser.add_argument("--max_new_tokens", type=int, default=200)
    parser.add_argument("--keep_models", action="store_true", help="save the model of each method, too")
    return parser


def made_models(args, rows):
    """Folders of the model that knows all and of that which never saw what is forgotten."""
    given = {BEFORE: args.tuned, NEVER: args.never_saw}
    made = {name: args.out / name.replace(" ", "-") for name in given}
    both = concatenate_datasets([rows["stay"], rows["go"]])
    if bool(args.tuned) != bool(args.never_saw) or not (args.model or args.tuned or args.quick):
        raise SystemExit("Give a --model to fine-tune, or --tuned and --never_saw, which are of one recipe.")
    if not args.tuned:
        set_seed(0)
        args.model = args.model or tiny(args.out / "tiny", both)
        epochs = tuned(args, made[BEFORE], both, args.epochs, args.known)
        tuned(args, made[NEVER], rows["stay"], epochs, None)
    return {name: given[name] or folder for name, folder in made.items()}


class Known(TrainerCallback):
    """Ends a training once answers to some of the rows have a mean probability."""

    def __init__(self, tokenizer, rows, wanted):
        self.tokenizer, self.rows, self.wanted = tokenizer, rows, wanted

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        """Asks the model."""
        scores = evaluate_questions(model, self.tokenizer, {"forget": self.rows}, generate=False)
        print(f"epoch {state.epoch:.0f}: answer probability {scores['forget_Q_A_Prob']:.3f}", flush=True)
        control.should_training_stop = scores["forget_Q_A_Prob"] >= self.wanted


def tuned(args, folder, rows, epochs, known):
    """Fine-tunes a model, goes on where it was cut off, and returns how many epochs it took."""
    done = folder / "tuning.json"
    if done.exists():
        return json.loads(done.read_text())["epochs"]
    set_seed(0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(args.model), AutoTokenizer.from_pretrained(args.model)
    tokenizer.padding_side, tokenizer.pad_token = "right", tokenizer.pad_token or tokenizer.eos_token
    some = first(rows.select_columns(["question", "answer"]).shuffle(seed=0), 160)
    settings = TrainingArguments(
        str(folder / "checkpoints"),
        num_train_epochs=epochs,
        learning_rate=args.tuning_rate,
        per_device_train_batch_size=args.tuning_batch,
        lr_scheduler_type="constant",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    start = time.perf_counter()
    trainer = Trainer(
        model,
        settings,
        DataCollatorForSeq2Seq(tokenizer, padding=True),
        question_inputs(rows, tokenizer),
        callbacks=[] if known is None else [Known(tokenizer, some, known)],
    )
    last = get_last_checkpoint(settings.output_dir) if Path(settings.output_dir).is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    epochs = round(trainer.state.epoch)
    write(done, {"epochs": epochs, "rows": len(rows), "seconds": time.perf_counter() - start})
    return epochs


def tiny(folder, rows):
    """A model of no size, for a trial; the folder that it is saved in."""
    if (folder / "tokenizer.json").exists():
        return folder
    tokenizer = train_tokenizer([*rows["question"], *rows["answer"]], 300)
    tokenizer.model_max_length = 512
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def forgotten(args, folder, tokenizer, rows, spec, seed):
    """The model of one method, `None` where it diverged, and what is kept of the run."""
    method, *given = spec.split()
    values = settings_of(given)
    training = {name: value for name, value in values.items() if name in TRAINING}
    settings = {name: value for name, value in values.items() if name not in TRAINING}
    authors = hyperparameters.UNDIAL if method.casefold() == "undial" else hyperparameters.TOFU
    chosen = replace(authors, **({"epochs": 3, "batch_size": 2} if args.quick else {}) | training)
    step = chosen.arguments(seed=seed)
    size = min(args.batch_size, chosen.batch_size)
    step.per_device_train_batch_size, step.gradient_accumulation_steps = size, max(1, chosen.batch_size // size)
    model = AutoModelForCausalLM.from_pretrained(folder)
    options = {"tokenizer": tokenizer, "method": method, "settings": settings}
    about = {"method": spec, "settings": values, "seed": seed}
    try:
        run = forget_answers(model, rows["go"], rows["stay"], step, **options)
    except ValueError as error:
        if "has diverged" not in str(error):
            raise
        return None, about | {"failed": str(error)}
    return run.model, about | {"seconds": run.seconds, "history": [epoch.row() for epoch in run.history]}


def attached(args, name, folder, rows, asked):
    """Codes of a model with a bottleneck, masked, and sparse units, clamped: what that scores, and how long it took."""
    unlearner = Unlearner.from_pretrained(folder)
    model, tokenizer = unlearner.model, unlearner.processor
    measured(args, args.out / "scores" / f"with-{name}", model, tokenizer, asked)
    options = {"retain": rows["control"], "heldout": 0, "title": "authors"}
    by_rows = question_sets(asked["forget"], tokenizer, **options)
    by_names = question_sets(asked["forget"], tokenizer, names=names_of(rows["go"]), **options)

    def masked(*searches):
        start = time.perf_counter()
        found = [unlearner.choose(*one, progress=False) for one in searches]
        if not any(map(len, found)):
            return
        request = unlearner.mask(reduce(Selection.with_more, found), searches[0][0])
        yield model, {"codes": request.num_codes}, time.perf_counter() - start
        unlearner.undo(request)

    def clamped(dynamic):
        run = clamp_units(model, rows["go"], rows["stay"], tokenizer=tokenizer, dynamic=dynamic)
        yield run.model, {"units": run.units, "thresholds": run.thresholds}, run.seconds

    own, ways = (by_rows, "default"), {}
    for count in args.codes:
        often = by_names, Search("activations", positions="topic", count=count)
        ways |= {f"{count} of names masked": partial(masked, often)}
        ways |= {f"{count} of names and by rows masked": partial(masked, often, own)}
    ways |= {"masked by names": partial(masked, (by_names, "default")), "masked by rows": partial(masked, own)}
    if any(isinstance(one, SparseUnits) for one in bottlenecks(model).values()):
        ways |= {"clamped": partial(clamped, False), "Dynamic SAE Guardrails": partial(clamped, True)}
    for way, make in ways.items():
        place = args.out / "methods" / f"{name}_{way}".replace(" ", "_") / "seed-0"
        run = {"method": f"{name}, {way}", "seed": 0}
        if not (place / "run.json").exists():
            for made, settings, seconds in make():
                measured(args, place, made, tokenizer, asked)
                run |= {"settings": settings, "seconds": seconds}
            write(place / "run.json", run if "seconds" in run else run | {"failed": "nothing selected"})
    return by_rows, by_names


def measured(args, folder, model, tokenizer, asked):
    """Takes all measures of a model, or one in a folder, and keeps them as OpenUnlearning does."""
    if (folder / "TOFU_EVAL.json").exists():
        return
    if isinstance(model, str | Path):
        model = AutoModelForCausalLM.from_pretrained(model)
    never = args.out / "scores" / NEVER.replace(" ", "-")
    options = {name: rows for name, rows in asked.items() if name not in ("forget", "retain")}
    options |= {"max_new_tokens": 2 if args.quick else args.max_new_tokens, "batch_size": 32, "share_prompts": True}
    if never != folder:
        options["reference"] = read_open_unlearning(never)
    start = time.perf_counter()
    scores = evaluate_questions(model, tokenizer, {name: asked[name] for name in ("forget", "retain")}, **options)
    folder.mkdir(parents=True, exist_ok=True)
    write_open_unlearning(folder, questions=scores)
    print(f"{folder}: measured in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
