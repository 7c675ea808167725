#!/usr/bin/env python
"""What an attacker gets back of a class of images, in a CLIP with a codebook or in key-value pairs.

    python examples/reproduce/reproduce_proof_classes.py --model clip/codebook --never_saw clip/never \
        --dataset_name cifar10 --classes automobile cat --suite all --out proof-clip

`--model` knows the classes, and `--never_saw` is one of the same recipe that saw none of them:
examples/train/train_clip.py with `--exclude_classes`, examples/train/train_image_classifier.py with `--train_rows`.

Each part is kept in `--out`, and made again only if its file is removed: a run that was cut off goes on. `proof.md` is
written anew each time of what is there.
"""

import argparse
import copy
from pathlib import Path

import torch
from proof_report import class_rows, markdown
from reproduce_clip import TEMPLATES, sets_of
from reproduce_proof import kept
from transformers import AutoModel, AutoModelForImageClassification
from transformers.utils import logging

from excise import CodebookCLIPModel, Search, Unlearner
from excise.attacks import AttackSets, run_attacks
from excise.baselines import erase_embedding_rows
from excise.data import load_rows
from excise.evaluation import predict_classes
from excise.statistics import clopper_pearson

ALONE = "rows alone"


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    logging.disable_progress_bar()
    torch.manual_seed(args.seed)
    train, test = (load_rows(args.dataset_name, None, split) for split in (args.train_split, args.test_split))
    unlearner = Unlearner.from_pretrained(args.model)
    of_clip = isinstance(unlearner.model, CodebookCLIPModel)
    never_saw = (AutoModel if of_clip else AutoModelForImageClassification).from_pretrained(args.never_saw)
    search = "class_token" if of_clip else Search("activations", count=args.na)
    for name in args.classes:
        topic = sets_of(args, train, test, name)
        for depth in ("codes", "rows", ALONE) if of_clip else ("codes",):
            place = args.out / name / depth.replace(" ", "-")
            if not (place / "attacks.json").exists() or not (place / "accuracy.json").exists():
                removed = deleted(unlearner, topic, depth, search)
                models = {"before": unlearner.model, "after": removed, "never saw it": never_saw}
                kept(place / "accuracy.json", accuracies, args, unlearner, topic, models)
                kept(place / "attacks.json", attacked, args, unlearner, topic, models.values(), depth, place)
    rows = class_rows(args.out, args.classes)
    (args.out / "proof.md").write_text("# Classes under attack, measured\n\n" + markdown(rows) + "\n", encoding="utf-8")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a CLIP with a codebook, or a key-value classifier")
    parser.add_argument("--never_saw", required=True, help="one of the same recipe that never saw the classes")
    parser.add_argument("--dataset_name", default="cifar10", help="Hub id, or folder")
    parser.add_argument("--train_split", default="train")
    parser.add_argument("--test_split", default="test")
    parser.add_argument("--classes", nargs="+", default=["automobile", "cat"])
    parser.add_argument("--na", type=int, default=200_000, help="of key-value pairs, those used most that go")
    parser.add_argument("--suite", default="quick", choices=("quick", "all"), help="which attacks")
    parser.add_argument("--examples", type=int, default=5000, help="training images of the class, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def deleted(unlearner, topic, depth, search):
    """A copy of a model in which a class is deleted."""
    if depth == ALONE:
        return erase_embedding_rows(unlearner.model, unlearner.processor, topic).model
    copied = Unlearner(copy.deepcopy(unlearner.model), unlearner.processor)
    copied.delete(topic, preset=search, depth=depth, progress=False)
    return copied.model


def accuracies(args, unlearner, topic, models):
    """Accuracy on the class and on all others, test images, of each model."""
    names, found = topic.classes, {}
    for name, model in models.items():
        found[name] = {}
        for part in ("heldout", "heldout_retain"):
            rows = getattr(topic, part)
            predicted = predict_classes(model, unlearner.processor, rows, names, templates=TEMPLATES)
            hits = sum(names[label] == told for label, told in zip(rows["label"], predicted, strict=True))
            found[name][part] = {"hits": hits, "total": len(rows), **clopper_pearson(hits, len(rows))._asdict()}
    return found


def attacked(args, unlearner, topic, models, depth, place):
    """An attack report as JSON values."""
    sets = AttackSets(topic, unlearner.processor, seed=args.seed, templates=TEMPLATES)
    options = {"depth": depth, "checkpoint": place / "checkpoint", "progress": False}
    return run_attacks(*models, sets, args.suite, **options).to_dict()


if __name__ == "__main__":
    main()
