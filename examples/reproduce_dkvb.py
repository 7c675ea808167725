#!/usr/bin/env python
"""Every table and figure of Unlearning via Sparse Representations that the data allows, in one command.

    python examples/reproduce_dkvb.py --model_name_or_path resnet50 --dataset_name cifar10 --out reproduction

Models and data sets are Hub ids or local paths. The paper's originals are `openai/clip-vit-base-patch32` on `cifar10`,
and on `cifar100` with `--forget_class 58 --top_k 10 --value_init zeros --learning_rate 0.3 --epochs 71`.

Each part is kept in `--out` and made again only if its file is removed: a run that was cut off goes on. The encoder
runs over each image once. What is printed at the end is the report, which is kept beside its figures.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from dkvb_report import report
from train_image_classifier import DataArguments, load
from train_image_classifier import main as train
from transformers import AutoImageProcessor, set_seed

from excise import (
    KeyValueForImageClassification,
    PairCounts,
    Unlearner,
    encode_images,
    enrich_counts,
    frontier,
    select_pairs,
)
from excise.attacks import ClassLosses, class_membership_inference
from excise.baselines import (
    LinearClassifier,
    LinearClassifierConfig,
    class_accuracy,
    finetune,
    gradient_difference,
    hyperparameters,
    retrain,
    scrub,
    scrub_rewind,
)
from excise.encodings import LABELS, Reading
from excise.pair_selection import SITE, by_activations, by_examples
from excise.selection import Selection, random_like


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        folder = args.out / f"seed-{seed}"
        trained(args, folder / "model", seed)
        run = Run(args, folder, seed)
        kept(folder / "accuracy.json", run.accuracies)
        for index in args.classes:
            kept(folder / f"class-{index}.json", run.forgetting, index)
        kept(folder / "baselines.json", run.baselines)
        kept(folder / "runtimes.json", run.runtimes)
        kept(folder / "retraining.json", run.retraining)
    for seed in range(args.membership_seeds):
        kept(args.out / f"membership-{seed}.json", membership, args, seed)
    print(report(args.out, args.forget_class))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", default="openai/clip-vit-base-patch32")
    parser.add_argument("--dataset_name", default="cifar10")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache_dir", help="where encodings and pairs are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--membership_seeds", type=int, default=3)
    parser.add_argument("--forget_class", type=int, default=1, help="class of the tables and figures")
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)), help="each is forgotten once")
    parser.add_argument("--num_codebooks", type=int, default=256)
    parser.add_argument("--num_pairs", type=int, default=4096)
    parser.add_argument("--key_dim", type=int, default=8)
    parser.add_argument("--top_k", type=int, default=1)
    parser.add_argument("--value_init", default="normal")
    parser.add_argument("--key_epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=74)
    parser.add_argument("--learning_rate", type=float, default=0.1)
    parser.add_argument("--max_train_samples", type=int)
    parser.add_argument("--max_test_samples", type=int)
    parser.add_argument("--na", type=int, default=200_000, help="pairs N_a that are masked in the tables (section 5.2)")
    parser.add_argument("--ne", type=int, default=3_400, help="examples N_e whose pairs are masked in the tables")
    parser.add_argument("--steps", type=int, default=20, help="points of a frontier")
    return parser


def kept(path, make, *args):
    """Makes a JSON file, if it is not there, of what a call gives."""
    if not path.exists():
        made = make(*args)
        path.write_text(json.dumps(made, indent=1) + "\n")
        print(path, flush=True)
    return json.loads(path.read_text())


def trained(args, folder, seed, *more):
    """Trains a model at the paper's hyperparameters, unless it is there."""
    if (folder / "all_results.json").exists():
        return
    same = ("model_name_or_path", "dataset_name", "cache_dir", "num_codebooks", "num_pairs", "key_dim", "top_k")
    same += ("value_init", "key_epochs", "learning_rate", "max_train_samples", "max_test_samples")
    given = {name: getattr(args, name) for name in same} | {"num_train_epochs": args.epochs}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    train([*options, f"--output_dir={folder}", f"--seed={seed}", "--disable_tqdm=True", *more])


class Run:
    """A trained model, and its data as encodings and pairs."""

    def __init__(self, args, folder, seed, **data):
        self.args, self.seed, self.forget_class = args, seed, args.forget_class
        self.model = KeyValueForImageClassification.from_pretrained(folder / "model")
        processor = AutoImageProcessor.from_pretrained(folder / "model")
        self.unlearner, self.bottleneck = Unlearner(self.model, processor), self.model.bottleneck
        limits = {"max_train_samples": args.max_train_samples, "max_test_samples": args.max_test_samples}
        self.data = load(DataArguments(dataset_name=args.dataset_name, **limits | data))
        options = {"cache_dir": args.cache_dir, "progress": False}
        self.encodings = {name: encode_images(self.model, part, processor, **options) for name, part in self.data.items()}
        self.pairs = {name: select_pairs(self.model, part, **options) for name, part in self.encodings.items()}
        self.counts = PairCounts.load(folder / "model" / "pair_counts.safetensors")
        self.reading = None

    def rows(self, kind, split, forget):
        """The forget class's rows of a split, or all others, as a Trainer takes them."""
        dataset = getattr(self, kind)[split]
        of_class = np.asarray(dataset.with_format("numpy")[LABELS][:]) == self.forget_class
        return dataset.select(np.flatnonzero(of_class == forget)).with_format("torch")

    def accuracies(self):
        """Table 1 and figure 5: accuracies by split and class, of the model and of a linear layer."""
        found = {}
        for name, model, kind in (("dkvb", self.model, "pairs"), ("linear", self.linear(), "encodings")):
            for split in ("train", "test"):
                dataset = getattr(self, kind)[split].with_format("torch")
                found[f"{name}, {split}"] = list(class_accuracy(model, dataset).values())
        return found

    def linear(self):
        """The baseline that replaces the bottleneck (section 5.1, table 5)."""
        set_seed(self.seed)
        config = LinearClassifierConfig(hidden_size=self.model.config.encoding_size, num_labels=self.model.num_labels)
        settings = hyperparameters.LINEAR["cifar10"].arguments(self.seed)
        return retrain(lambda: LinearClassifier(config), self.encodings["train"].with_format("torch"), settings).model

    def forgetting(self, index):
        """Figures 2, 3 and 7 for a class: both of the paper's ways, by enrichment, and random pairs."""
        test = self.encodings["test"]
        self.reading = self.reading or Reading(self.bottleneck, test)
        self.forget_class = index
        forget = self.rows("pairs", "train", True)
        counts = self.counts.of_class(index)
        table = enrich_counts(
            {SITE: self.counts.against_the_rest(index)}, "fisher", top_s=self.args.top_k, positions="all"
        )
        ranked = table.select(q=1.0)
        steps = range(1, self.args.steps + 1)
        pairs = [step * self.args.na // self.args.steps for step in steps]
        examples = [min(len(forget), step * len(forget) // self.args.steps) for step in steps]
        tries = {
            "activations": {n: by_activations(counts, n) for n in pairs},
            "examples": {n: by_examples(forget, n, self.seed) for n in sorted({*examples, min(self.args.ne, len(forget))})},
            "enrichment": {n: table.select(q=1.0, count=n) for n in pairs},
            "significant": {len(chosen): chosen for q in (0.05,) if len(chosen := table.select(q=q))},
        }
        total = np.asarray(self.counts.table.sum(0)).reshape(-1)
        live = {SITE: self.bottleneck.live.numpy()}
        random = random_like(tries["activations"][self.args.na], {SITE: total}, live, self.seed)
        tries["random"] = {len(random): random}
        found = {"ranked": len(ranked)}
        for name, selections in tries.items():
            made = frontier(self.unlearner, test, index, selections, reading=self.reading, progress=False)
            found[name] = made.to_dict()
        self.forget_class = self.args.forget_class
        return found
