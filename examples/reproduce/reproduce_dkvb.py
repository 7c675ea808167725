#!/usr/bin/env python
"""Every table and figure of Unlearning via Sparse Representations that the data allows, in one command.

    python examples/reproduce/reproduce_dkvb.py --model_name_or_path resnet50 --dataset_name cifar10 --out reproduction

Models and data sets are Hub ids or local paths; a data set may be a folder with `train` and `test` in it, and in each
a folder with the images of each class, by its name. The paper's originals are `openai/clip-vit-base-patch32` on
`cifar10`, and on `cifar100` with `--preset paper-cifar100 --label_column fine_label --baselines cifar100 --forget_class
58`; LACUNA-100 takes `--preset paper-lacuna100 --baselines lacuna100`. A data set whose labelled test images are in
another split, as ImageNet's, takes `--test_split validation`. `--also` trains with other settings too, a row each: the
paper's for CIFAR-100 and LACUNA-100, and ours.

Each part is kept in `--out` and made again only if its file is removed: a run that was cut off goes on, and one with
other arguments is refused. The encoder runs over each image once. What is printed at the end is the report, which is
kept beside its figures, and with `--docs` in a file of your own. Every cell has its mean, the 95 % interval over seeds
and their number. With `--bundle`, the first seed's model without the class is written as it can be shared, with
its card and report.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from datasets import DatasetDict
from dkvb_report import report
from transformers import AutoImageProcessor

from excise import (
    Condition,
    Evaluation,
    Frontier,
    KeyValueForImageClassification,
    PairCounts,
    Record,
    Search,
    Unlearner,
    encode_images,
    frontier,
    select_pairs,
)
from excise.attacks import ClassLosses, choose_partial, class_membership_inference
from excise.baselines import (
    LinearClassifier,
    LinearClassifierConfig,
    finetune,
    gradient_difference,
    hyperparameters,
    retrain,
    scrub,
    scrub_rewind,
)
from excise.codes import random_like
from excise.data import class_labels, load_rows
from excise.evaluation import class_accuracy, example_losses
from excise.models import MaskedLogits
from excise.statistics import clopper_pearson
from excise.training import KEY_VALUE_PRESETS

sys.path.append(str(Path(__file__).resolve().parents[1] / "train"))  # the training is an example of its own
from train_image_classifier import main as train

# Of the arguments, those that change where things are kept or how much is made, but nothing of what is made.
DATA = (
    "dataset_name",
    "image_column",
    "label_column",
    "train_split",
    "test_split",
    "max_train_samples",
    "max_test_samples",
    "cache_dir",
    "encoder_dtype",
)
FREE = ("out", "cache_dir", "seeds", "membership_seeds", "classes", "bundle", "also", "docs", "given")
# Of a linear layer, what is chosen among on held-out training images.
RATES, DECAYS, MOST_EPOCHS = (0.0003, 0.001, 0.003), (0.0, 1.0), 30


def main():
    """Makes what is missing in `--out`, then the report."""
    args = parsed()
    args.out.mkdir(parents=True, exist_ok=True)
    args.forget_class, *args.classes = labels_of_classes(args, [args.forget_class, *(args.classes or ())])
    settings = {name: value for name, value in vars(args).items() if name not in FREE}
    if kept(args.out / "arguments.json", lambda: settings) != settings:
        raise SystemExit(f"{args.out} holds results of other arguments (arguments.json): choose another --out.")
    for seed in range(args.seeds):
        folder = args.out / f"seed-{seed}"
        trained(args, folder / "model", seed)
        run = Run(args, folder, seed)
        chosen = kept(args.out / "linear.json", run.linear_chosen)
        kept(folder / "accuracy.json", run.accuracies, chosen)
        others = () if seed else args.classes or range(run.model.config.num_labels)
        for index in (args.forget_class, *others):
            kept(folder / f"class-{index}.json", run.forgetting, index)
        kept(folder / "baselines.json", run.baselines)
        kept(folder / "runtimes.json", run.runtimes)
        kept(folder / "retraining.json", run.retraining)
        for name in args.also:
            kept(folder / f"settings-{name}.json", other_settings, args, folder / f"model-{name}", seed, name)
    for seed in range(args.membership_seeds):
        kept(args.out / f"class-membership-{seed}.json", membership, args, seed)
    text = report(args.out, args.forget_class, args.ne)
    print(text)
    if args.docs:
        args.docs.write_text(text, encoding="utf-8")
    if args.bundle:
        share(args, args.out / "seed-0", text)


def parsed():
    """The arguments; what a preset says is the default of what is not given."""
    parser = arguments()
    first = parser.parse_args()
    parser.set_defaults(**of_preset(first.preset))
    sizes = ("num_codebooks", "num_pairs", "key_dim", "key_epochs")
    given = {name: getattr(first, name) for name in sizes if getattr(first, name) is not None}
    return argparse.Namespace(**vars(parser.parse_args()), given=given)


def of_preset(name):
    """The settings of a preset by the names of the arguments."""
    settings = vars(KEY_VALUE_PRESETS[name])
    return {"epochs" if name == "num_train_epochs" else name: value for name, value in settings.items()}


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", default="openai/clip-vit-base-patch32")
    parser.add_argument("--dataset_name", default="cifar10")
    parser.add_argument("--image_column", help="the only one if not given")
    parser.add_argument("--label_column", help="the one of type ClassLabel if not given")
    parser.add_argument("--train_split", default="train")
    parser.add_argument("--test_split", default="test", help="one with labels")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache_dir", help="where encodings and pairs are kept")
    parser.add_argument("--encoder_dtype", help="bfloat16: the encoder computes in it, faster where hardware has it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--membership_seeds", type=int, default=5, help="the paper has 3")
    parser.add_argument("--forget_class", default="1", help="class of the tables and figures: its name or label")
    parser.add_argument("--classes", nargs="+", help="forgotten too, with the first seed; all if not given")
    parser.add_argument("--baselines", default="cifar10", choices=hyperparameters.SCRUB, help="column of tables 5 to 7")
    names = list(KEY_VALUE_PRESETS)
    parser.add_argument("--preset", default="paper", choices=names, help="of what follows; what is given beside stands")
    parser.add_argument("--num_codebooks", type=int)
    parser.add_argument("--num_pairs", type=int)
    parser.add_argument("--key_dim", type=int)
    parser.add_argument("--top_k", type=int)
    parser.add_argument("--value_init")
    parser.add_argument("--key_epochs", type=int)
    parser.add_argument("--components", type=int, help="whitened principal components; the paper has none")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--lr_scheduler_type")
    parser.add_argument("--also", nargs="*", default=[], choices=names, help="presets to train with too, a row each")
    parser.add_argument("--max_train_samples", type=int)
    parser.add_argument("--max_test_samples", type=int)
    parser.add_argument("--na", type=int, default=200_000, help="pairs N_a that are masked in the tables (section 5.2)")
    parser.add_argument("--ne", type=int, default=3_400, help="examples N_e whose pairs are masked in the tables")
    parser.add_argument("--steps", type=int, default=20, help="points of a frontier")
    parser.add_argument("--docs", type=Path, help="Markdown file that the report is written to as well")
    parser.add_argument("--bundle", type=Path, help="folder for the model without --forget_class, as it can be shared")
    return parser


def load_data(args):
    """The images to train on and to test on."""
    most = {"train": args.max_train_samples, "test": args.max_test_samples}
    splits = {"train": load_rows(args.dataset_name, None, args.train_split)}
    splits["test"] = load_rows(args.dataset_name, None, args.test_split)
    return DatasetDict({n: part.select(range(min(len(part), most[n] or len(part)))) for n, part in splits.items()})


def encoder_dtype(args):
    """What the encoder computes in."""
    return getattr(torch, args.encoder_dtype) if args.encoder_dtype else None


def labels_of_classes(args, wanted):
    """The labels of classes that are asked for by their names, or by labels where no class has such a name."""
    names = class_labels(load_data(args)["train"], args.label_column)[2]
    unknown = [one for one in wanted if one not in names and one not in map(str, range(len(names)))]
    if unknown:
        raise SystemExit(f"There is no class {unknown[0]!r}; the classes are {', '.join(names)}.")
    return [names.index(one) if one in names else int(one) for one in wanted]


def kept(path, make, *args):
    """Makes a JSON file, if it is not there, of what a call gives."""
    if not path.exists():
        made = make(*args)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(made, indent=1) + "\n")
        os.replace(partial, path)  # whole or not at all
        print(path, flush=True)
    return json.loads(path.read_text())


def trained(args, folder, seed, *more):
    """Trains a model with the settings of the arguments, unless it is there."""
    if (folder / "all_results.json").exists():
        return
    same = (*DATA, "model_name_or_path", "num_codebooks", "num_pairs", "key_dim", "top_k")
    same += ("value_init", "key_epochs", "components", "learning_rate", "lr_scheduler_type")
    given = {name: getattr(args, name) for name in same} | {"num_train_epochs": args.epochs}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    train([*options, f"--output_dir={folder}", f"--seed={seed}", "--disable_tqdm=True", *more])


class Run:
    """A trained model, and its data as encodings and as pairs."""

    def __init__(self, args, folder, seed, rows=None):
        """Takes all training images, or as many parts of them as `rows` names; and all test images."""
        self.args, self.seed = args, seed
        self.linear_settings = hyperparameters.LINEAR[args.baselines]
        self.scrub_settings = hyperparameters.SCRUB[args.baselines]
        model = folder if (folder / "config.json").exists() else folder / "model"
        self.model = KeyValueForImageClassification.from_pretrained(model)
        self.model.to("cuda" if torch.cuda.is_available() else "cpu")
        self.processor = AutoImageProcessor.from_pretrained(model)
        self.unlearner, self.bottleneck = Unlearner(self.model, self.processor), self.model.bottleneck
        self.options = {"cache_dir": args.cache_dir, "progress": False}
        self.encodings = {name: self.encode(part) for name, part in load_data(args).items()}
        if rows:
            train = self.encodings.pop("train")
            self.encodings = {name: train.select(part) for name, part in rows.items()} | self.encodings
        self.pairs = {name: select_pairs(self.model, part, **self.options) for name, part in self.encodings.items()}
        self.counts = PairCounts.load(model / "pair_counts.safetensors")
        self.reading = None

    def encode(self, images, **options):
        """The encodings of images; options as in `encode_images`."""
        how = {"image": self.args.image_column, "label": self.args.label_column, "dtype": encoder_dtype(self.args)}
        return encode_images(self.model, images, self.processor, **how, **(self.options | options))

    def accuracies(self, chosen):
        """Table 1 and figure 5: accuracies by class, of the model and of linear layers."""
        better = self.linear_layer(self.encodings["train"], chosen["chosen"])
        models = {"DKVB": (self.model, self.pairs), "linear": (self.linear, self.encodings)}
        models["linear, chosen on held-out images"] = (better, self.encodings)
        found = {}
        for split in self.encodings:
            for name, (model, rows) in models.items():
                by_class = class_accuracy(model, rows[split].with_format("torch"))
                found[f"{name}, {split}"] = [by_class.get(index) for index in range(self.model.config.num_labels)]
        return found

    def linear_chosen(self):
        """Rate, decay and epochs of a linear layer that do best on a tenth of the training images, held out."""
        train, tried = self.encodings["train"], []
        order = np.random.default_rng(0).permutation(len(train))
        held = np.sort(order[: len(train) // 10])
        rest = np.sort(order[len(train) // 10 :])
        sets = {"heldout": train.select(held).with_format("torch")}
        for rate in RATES:
            for decay in DECAYS:
                tuned = replace(self.linear_settings, learning_rate=rate, weight_decay=decay, epochs=MOST_EPOCHS)
                history = self.trained_linear(train.select(rest), tuned, sets).history[1:]
                best = max(history, key=lambda epoch: epoch.accuracy["heldout"])
                values = {"learning_rate": rate, "weight_decay": decay, "epochs": best.number}
                tried.append({"heldout": best.accuracy["heldout"], "settings": values})
        return {"chosen": max(tried, key=lambda each: each["heldout"])["settings"], "tried": tried}

    @cached_property
    def linear(self):
        """What takes the bottleneck's place in the baselines."""
        return self.linear_layer(self.encodings["train"])

    def linear_layer(self, encodings, changes=None):
        """A linear layer on encodings, trained as the paper's (section 5.1, table 5) but for changes."""
        return self.trained_linear(encodings, replace(self.linear_settings, **(changes or {}))).model

    def trained_linear(self, encodings, settings, sets=None):
        """The run of a linear layer's training."""
        sizes = {"hidden_size": self.model.config.encoding_size, "num_labels": self.model.config.num_labels}
        config = LinearClassifierConfig(**sizes)
        rows, given = encodings.with_format("torch"), settings.arguments(self.seed)
        return retrain(lambda: LinearClassifier(config), rows, given, evaluate_on=sets)

    def forgetting(self, index):
        """Figures 2, 3 and 7 for a class: the paper's two ways, pairs by enrichment, and random pairs."""
        self.reading = self.reading or MaskedLogits(self.bottleneck, self.encodings["test"])
        forget, enriched = of_class(self.pairs["train"], index), self.counts.enrich(index)
        steps = np.arange(1, self.args.steps + 1) / self.args.steps
        pairs = (steps * self.args.na).astype(int).tolist()
        examples = sorted({min(self.args.ne, len(forget)), *(steps * len(forget)).astype(int).tolist()})
        tries = {
            "activations": {n: self.by_activations(index, n) for n in pairs},
            "examples": {n: self.by_examples(forget, n) for n in examples if n},
            "enrichment": {n: enriched.select(q=1.0, count=n) for n in pairs},
            "enriched at q <= 0.05": {1: enriched.select()},
        }
        like = tries["activations"][self.args.na]
        frequency, live = self.counts.of_all(), self.bottleneck.live.cpu().numpy()
        random = random_like(like, *(dict.fromkeys(like.codes, array) for array in (frequency, live)), self.seed)
        tries["random pairs"] = {len(like): random}
        options = {"reading": self.reading, "progress": False}
        return {
            name: frontier(self.unlearner, self.encodings["test"], index, selections, **options).to_dict()
            for name, selections in tries.items()
        }

    def by_activations(self, index, count):
        """The pairs that a class selects most often, by the counts kept in training."""
        return self.unlearner.choose(self.counts.topic(index), Search("activations", count=count))

    def by_examples(self, forget, count):
        """All pairs that so many examples of a class select."""
        return self.unlearner.choose(forget, Search("examples", count=count, seed=self.seed), progress=False)

    def baselines(self):
        """Tables 2 and 9, and SCRUB's lines in figures 4 and 6: unlearning on the linear layer, for ten epochs."""
        index, linear = self.args.forget_class, self.linear
        forget, retain = (of_class(self.encodings["train"], index, inside) for inside in (True, False))
        sets = self.test_sets(self.encodings)
        settings = replace(self.scrub_settings, epochs=10).arguments(self.seed)
        found = {
            f"SCRUB, {msteps} max-steps": scrub(
                linear, forget, retain, settings, msteps=msteps, stop_early=False, evaluate_on=sets
            )
            for msteps in (1, 2, 3, 5)
        }
        found["gradient difference"] = gradient_difference(linear, forget, retain, settings, evaluate_on=sets)
        found["fine-tuned on the rest"] = finetune(linear, retain, settings, evaluate_on=sets)
        found["trained without the class"] = retrain(
            lambda: LinearClassifier(linear.config), retain, settings, evaluate_on=sets
        )
        return {name: epochs(run) | {"chosen": run.epoch} for name, run in found.items()}

    def retraining(self):
        """Figures 4 and 6: ten more epochs on the retain set after each way of unlearning (section 5.4, table 7)."""
        index, found = self.args.forget_class, {}
        forget = of_class(self.pairs["train"], index)
        ways = {
            "activations": (self.by_activations(index, self.args.na), "RETRAIN_ACTIVATIONS"),
            "examples": (self.by_examples(forget, min(self.args.ne, len(forget))), "RETRAIN_EXAMPLES"),
        }
        for name, (selection, table) in ways.items():
            with self.unlearner.trial(selection):
                masked = {
                    split: select_pairs(self.model, part, **self.options) for split, part in self.encodings.items()
                }
                settings = getattr(hyperparameters, table)[self.args.baselines].arguments(self.seed)
                retain = of_class(masked["train"], index, False)
                found[name] = epochs(finetune(self.model, retain, settings, evaluate_on=self.test_sets(masked)))
        return found

    def runtimes(self):
        """Table 8: seconds to unlearn the class, with what is at hand in each case."""
        index, found = self.args.forget_class, {}
        forget = of_class(self.encodings["train"], index)

        def seconds(name, call, *args):
            start = time.perf_counter()
            made = call(*args)
            found[name] = time.perf_counter() - start
            return made

        mask, topic = self.unlearner.forget, self.counts.topic(index)
        by_activations = Search("activations", count=self.args.na)
        request = seconds("activations, counts kept in training", mask, topic, by_activations)
        self.unlearner.undo(request)
        with tempfile.TemporaryDirectory() as empty:  # nothing is read that an earlier run has kept
            look_up = partial(select_pairs, self.model, forget, cache_dir=empty, progress=False)
            pairs = seconds("looking up the class's encodings", look_up)
            images = load_data(self.args)["train"].select(range(64))
            seconds("encoding 64 images", partial(self.encode, images, cache_dir=empty))
        by_examples = Search("examples", count=min(self.args.ne, len(pairs)), seed=self.seed)
        request = seconds("examples, pairs at hand", partial(mask, pairs, by_examples, name="c", progress=False))
        self.unlearner.undo(request)
        linear, retain = self.linear, of_class(self.encodings["train"], index, False)
        sets = self.test_sets(self.encodings)
        run = scrub(linear, forget, retain, self.scrub_settings.arguments(self.seed), evaluate_on=sets)
        found["SCRUB, encodings at hand"] = run.seconds
        found["SCRUB, images it encodes"] = (len(run.history) - 1) * (len(forget) + len(retain))
        found["images of the class"] = len(forget)
        return found

    def test_sets(self, rows):
        """The forget class's test rows, and all others."""
        parts = {"forget": True, "retain": False}
        return {name: of_class(rows["test"], self.args.forget_class, inside) for name, inside in parts.items()}


def other_settings(args, folder, seed, name):
    """A row of other settings: accuracies, and those after the class is forgotten via activations.

    Sizes that are given stand for these too.
    """
    changed = argparse.Namespace(**vars(args) | of_preset(name) | args.given)
    trained(changed, folder, seed)
    run = Run(changed, folder, seed)
    by_class = class_accuracy(run.model, run.pairs["test"].with_format("torch"))
    selected = np.count_nonzero(run.counts.of_class(args.forget_class))
    pairs = (np.arange(1, args.steps + 1) / args.steps * min(selected, run.bottleneck.num_codes // 2)).astype(int)
    tries = {n: run.by_activations(args.forget_class, n) for n in pairs.tolist()}
    found = frontier(run.unlearner, run.encodings["test"], args.forget_class, tries, progress=False)
    return {"accuracy": [by_class[index] for index in sorted(by_class)], "frontier": found.to_dict()}


def membership(args, seed):
    """Table 3 and more: can the class that was forgotten be told from one that the model never saw (appendix D)?

    The model is trained on all classes but the last, on four fifths of the training images. How far the class is
    forgotten is chosen on the rest: by the mean losses, and by an attacker.
    """
    train, folder = load_data(args)["train"], args.out / f"membership-{seed}"
    labels = np.asarray(class_labels(train, args.label_column)[1])
    heldout, forget = int(labels.max()), args.forget_class
    order = np.random.default_rng(seed).permutation(len(labels))
    rows = {c: order[labels[order] == c] for c in range(heldout + 1)}
    cut = {c: len(found) * 4 // 5 for c, found in rows.items()}
    folder.mkdir(exist_ok=True)
    seen = np.sort(np.concatenate([rows[c][: cut[c]] for c in range(heldout)]))
    np.save(folder / "rows.npy", seen)
    trained(args, folder / "model", seed, f"--train_rows={folder / 'rows.npy'}")
    validation = np.sort(np.concatenate([rows[c][cut[c] :] for c in rows]))
    run = Run(args, folder, seed, {"seen": seen, "validation": validation})
    others = run.encodings["test"].select(np.flatnonzero(~np.isin(labels_of(run.encodings["test"]), (forget, heldout))))
    found = {}

    def measure(name, model):
        parts = [
            of_class(run.encodings[split], index) for split in ("validation", "test") for index in (forget, heldout)
        ]
        losses = ClassLosses(*(example_losses(model, part) for part in parts))
        right = class_accuracy(model, others.with_format("torch"))
        attacker = class_membership_inference({seed: losses}).accuracy[seed]
        found[name] = {"attacker": attacker, "others": float(np.mean(list(right.values())))}

    measure("DKVB, as trained", run.model)
    numbers = np.linspace(0, args.na * 3 // 2, 61).astype(int)[1:].tolist()
    topic = run.counts.topic(forget)
    for by, words in (("loss", "by the mean losses on validation"), ("attack", "by the attack on validation")):
        validation_set = run.encodings["validation"]
        chosen = choose_partial(run.unlearner, topic, validation_set, heldout, numbers, by=by, progress=False)
        with run.unlearner.trial(chosen.selection):
            measure(f"DKVB, partial, {words}", run.model)
        found[f"DKVB, partial, {words}"]["pairs"] = chosen.count
    with run.unlearner.trial(run.by_activations(forget, args.na)):
        measure("DKVB, all N_a pairs", run.model)
    for name, model in baselines_of_membership(run, forget, heldout):
        measure(f"linear layer, {name}", model)
    return found


def baselines_of_membership(run, forget, heldout):
    """The linear layer as trained on the same rows, and after each baseline, by name."""
    seen, validation = run.encodings["seen"], run.encodings["validation"]
    linear = run.linear_layer(seen)
    settings = replace(run.scrub_settings, epochs=10).arguments(run.seed)
    inside, outside = of_class(seen, forget), of_class(seen, forget, False)
    yield "as trained", linear
    yield "SCRUB", scrub(linear, inside, outside, settings).model
    sets, unseen = (linear, inside, outside, of_class(validation, forget), settings), of_class(validation, heldout)
    yield "SCRUB+R, its authors' rule", scrub_rewind(*sets).model
    ways = {"loss": "by the mean losses on validation", "attack": "by the attack on validation"}
    for rule, words in ways.items():
        yield f"SCRUB+R, {words}, epochs", scrub_rewind(*sets, rule=rule, unseen=unseen).model
        yield (
            f"SCRUB+R, {words}, ten points an epoch",
            scrub_rewind(*sets, rule=rule, unseen=unseen, per_epoch=10).model,
        )
    yield "gradient difference", gradient_difference(linear, inside, outside, settings).model
    yield "fine-tuned on the rest", finetune(linear, outside, settings).model
    yield "trained without the class", retrain(lambda: LinearClassifier(linear.config), outside, settings).model


def share(args, folder, notes):
    """Writes a seed's model without the class, with its evidence."""
    unlearner = Unlearner.from_pretrained(folder / "model")
    counts = PairCounts.load(folder / "model" / "pair_counts.safetensors")
    unlearner.forget(counts.topic(args.forget_class), Search("activations", count=args.na))
    found = json.loads((folder / f"class-{args.forget_class}.json").read_text())
    record = Record.of(
        unlearner.model,
        evaluations=[evaluation(found)],
        frontiers=[found["activations"], found["examples"]],
        data={
            "datasets": [args.dataset_name],
            "split": args.test_split,
            "notes": "##" + notes.replace("\n## ", "\n#### "),
        },
        settings={
            "seed": 0,
            "command": f"python examples/reproduce/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:]),
        },
    )
    unlearner.save_bundle(args.bundle, record)


def evaluation(found):
    """Before, after and with random pairs masked, as the ends of the frontiers have it; answers were not kept."""
    ends = {
        Condition.BEFORE: ("activations", 0),
        Condition.AFTER: ("activations", -1),
        Condition.RANDOM: ("random pairs", -1),
    }
    frontiers = {condition: (Frontier.from_dict(found[way]), place) for condition, (way, place) in ends.items()}
    after, scores, sets = frontiers[Condition.AFTER][0], {}, ("heldout", "heldout_retain")
    for condition, (of_way, place) in frontiers.items():
        point = of_way.points[place]
        scores[condition] = {
            name: score(share, total)
            for name, share, total in zip(sets, (point.forget, point.retain), of_way.examples, strict=True)
        }
    return Evaluation(
        topic=after.topic,
        words=(after.topic,),
        removed=after.points[-1].removed,
        scores=scores,
        outputs={},
        texts={name: [f"image {i}" for i in range(total)] for name, total in zip(sets, after.examples, strict=True)},
        references={},
        settings={"seed": 0, "thresholds": dict(after.thresholds)},
    )


def score(share, total):
    """An accuracy, with its exact 95 % interval."""
    hits = round(share * total)
    return {"accuracy": share, "hits": hits, "total": total, **clopper_pearson(hits, total)._asdict()}


def labels_of(dataset):
    return np.asarray(dataset.with_format("numpy")["labels"][:])


def of_class(dataset, index, inside=True):
    """The rows of a class, or all others, as a Trainer takes them."""
    return dataset.select(np.flatnonzero((labels_of(dataset) == index) == inside)).with_format("torch")


def epochs(run):
    """A baseline's accuracies and seconds, epoch by epoch."""
    return {"epochs": [vars(epoch) | {"accuracy": dict(epoch.accuracy)} for epoch in run.history]}


if __name__ == "__main__":
    main()
