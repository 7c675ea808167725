#!/usr/bin/env python
"""Each class of an image data set forgotten by a CLIP with a codebook, as CodeUnlearn does with words, in one command.

It needs two models of examples/train/train_clip.py: one with a codebook, and the same CLIP trained as long without.

    python examples/reproduce/reproduce_clip.py --model out/codebook --plain out/plain-longer \
        --dataset_name cifar10 --out classes

For each class: sets from the training images; the codes that its images use and others do not, at the class token
(Fisher's exact test), searched for again under the mask of those found; and zero-shot accuracy on all test images
before, after, and with as many random codes. Each part is kept in `--out` and made again only if its file is removed: a
run that was cut off goes on. With `--bundle`, the model without one of the classes is written as it can be shared, with
its card and report.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging

from excise import Condition, Evaluation, Record, Search, Unlearner, class_sets, evaluate_classes
from excise.codes import image_meanings
from excise.data import class_column, load_rows
from excise.evaluation import predict_classes

# As in the training.
TEMPLATES = ("a photo of a {}", "a picture of a {}", "an image of a {}", "a small photo of a {}", "this is a {}")
CONDITIONS = (Condition.BEFORE, Condition.AFTER, Condition.RANDOM)
SHOWN = 200  # codes of a class, the surest, whose images are in the report


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    logging.disable_progress_bar()
    args.out.mkdir(parents=True, exist_ok=True)
    train, test = (load_rows(args.dataset_name, None, split) for split in (args.train_split, args.test_split))
    names = train.features[class_column(train)].names
    for name, folder in (("codebook", args.model), ("plain", args.plain)):
        path = args.out / f"accuracy-{name}.json"
        if not path.exists():
            path.write_text(json.dumps(accuracy(folder, test, names)))
    unlearner = Unlearner.from_pretrained(args.model)
    for name in names:
        path = args.out / f"{name}.json"
        if not path.exists():
            forgotten(args, unlearner, train, test, name).save(path)
            print(path, flush=True)
    text = report(args.out, names)
    print(text)
    if args.bundle:
        share(args, train, test, text)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="CLIP with a codebook")
    parser.add_argument("--plain", required=True, help="the same CLIP, trained as long without one")
    parser.add_argument("--dataset_name", default="cifar10", help="Hub id, or folder")
    parser.add_argument("--train_split", default="train")
    parser.add_argument("--test_split", default="test")
    parser.add_argument("--examples", type=int, default=5000, help="training images of the class, at most, counted")
    parser.add_argument("--positions", default="class_token", choices=("class_token", "all"), help="where codes count")
    parser.add_argument("--multiple", type=int, default=5, help="S' as a multiple of the model's S")
    parser.add_argument("--q", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=2, help="searches, each under the mask of what was found")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="folder for the model without --forget_class, as it can be shared")
    parser.add_argument("--forget_class", default="automobile", help="name of the class that is forgotten there")
    return parser


def accuracy(folder, test, names):
    """Zero-shot accuracy on all test images."""
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    predicted = predict_classes(model, processor, test, names, templates=TEMPLATES)
    return float(np.mean([names[i] == found for i, found in zip(test[class_column(test)], predicted, strict=True)]))


def sets_of(args, train, test, name):
    sizes = {"max_examples": args.examples, "max_retain": 2 * args.examples, "min_examples": 1}
    return class_sets(train, name, test=test, seed=args.seed, **sizes)


def search_of(args):
    return Search("fisher", args.positions, args.multiple, args.q, rounds=args.rounds)


def forgotten(args, unlearner, train, test, name):
    """One class's codes, masked for a trial."""
    topic = sets_of(args, train, test, name)
    selection = unlearner.choose(topic, search_of(args), progress=False)
    options = {"templates": TEMPLATES, "seed": args.seed, "progress": False}
    return evaluate_classes(unlearner, topic, selection=selection, **options)


def share(args, train, test, notes):
    """Writes the model without one class, with its evidence."""
    unlearner, name = Unlearner.from_pretrained(args.model), args.forget_class
    topic = sets_of(args, train, test, name)
    chosen = unlearner.choose(topic, search_of(args), tables=True, progress=False)  # of each round
    shown = chosen.steps[0].table.select(q=args.q, count=SHOWN)
    unlearner.mask(chosen, topic)
    record = Record.of(
        unlearner.model,
        evaluations=[Evaluation.load(args.out / f"{name}.json")],
        enrichments={name: chosen},
        thumbnails=image_meanings(unlearner, test, shown.codes, progress=False),
        data={"datasets": [args.dataset_name], "split": args.test_split, "notes": "##" + notes},
        settings={
            "seed": args.seed,
            "command": f"python examples/reproduce/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:]),
        },
    )
    unlearner.save_bundle(args.bundle, record)


def report(out, names):
    """Writes report.md and returns its text."""
    found = {name: Evaluation.load(out / f"{name}.json") for name in names}
    codebook, plain = (json.loads((out / f"accuracy-{name}.json").read_text()) for name in ("codebook", "plain"))
    lines = [
        "# Each class forgotten",
        f"Zero-shot accuracy with a codebook {codebook:.4f}, without {plain:.4f}: {codebook / plain:.1%} of it.",
        "Accuracy in percent; change in points.\n",
    ]
    header = ["Class", "codes", "class: before", "after", "random codes"]
    header += ["others: before", "after (change)", "random (change)"]
    scores, rows = [], []
    for evaluation in found.values():
        of_class, of_others = [
            [100 * evaluation.scores.get(c, {}).get(part, {"accuracy": np.nan})["accuracy"] for c in CONDITIONS]
            for part in ("heldout", "heldout_retain")
        ]
        scores.append([evaluation.removed, *of_class, *of_others])
    for name, row in [*zip(found, scores, strict=True), ("mean", np.nanmean(scores, 0))]:
        codes, before, after, random, kept, kept_after, kept_random = row
        cells = [f"{score:.1f}" for score in (before, after, random, kept)]
        cells += [f"{score:.1f} ({score - kept:+.2f})" for score in (kept_after, kept_random)]
        rows.append([name, f"{codes:.0f}", *cells])
    options = {"index": False, "disable_numparse": True, "colalign": [None, *["right"] * 7]}
    lines.append(pandas.DataFrame(rows, columns=header).to_markdown(**options))
    text = "\n".join(lines) + "\n"
    (out / "report.md").write_text(text)
    return text


if __name__ == "__main__":
    main()
