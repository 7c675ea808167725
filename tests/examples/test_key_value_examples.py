"""The examples of the key-value bottleneck run at tiny size, go on where they were cut off, and report."""

import importlib
import json
import runpy
import sys

import numpy as np
import pytest
from datasets import DatasetDict
from transformers import AutoModelForImageClassification, ResNetModel, set_seed

from excise import Frontier, PairCounts, Unlearner
from excise.report.frontier import Point
from tests.helpers.tiny_images import ENCODERS, NAMES, images, processor

SIZES = {"num_codebooks": 16, "num_pairs": 64, "key_dim": 4, "key_epochs": 2}
QUIET = ["--disable_tqdm=True", "--use_cpu=True", "--dataloader_pin_memory=False", "--logging_strategy=no"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A tiny encoder with its processor, and images of four colours, in folders."""
    folder = tmp_path_factory.mktemp("inputs")
    set_seed(0)
    ResNetModel(ENCODERS["resnet"]).save_pretrained(folder / "encoder")
    processor().save_pretrained(folder / "encoder")
    DatasetDict(train=images(200), test=images(80, seed=1)).save_to_disk(str(folder / "data"))
    data = {"model_name_or_path": folder / "encoder", "dataset_name": folder / "data", "cache_dir": folder / "cache"}
    return [f"--{name}={value}" for name, value in (data | SIZES).items()]


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory):
    """The same images as files, in a folder for each split and class."""
    folder = tmp_path_factory.mktemp("folder")
    for split, rows in {"train": images(200), "test": images(80, seed=1)}.items():
        for number, row in enumerate(rows):
            of_class = folder / split / NAMES[row["label"]]
            of_class.mkdir(parents=True, exist_ok=True)
            row["img"].save(of_class / f"{number}.png")
    return folder


@pytest.fixture
def example(request, monkeypatch):
    folder = request.config.rootpath / "examples"
    monkeypatch.syspath_prepend(str(folder / "reproduce"))

    def run(name, arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        for imported in ("train_image_classifier", "dkvb_report", "reproduce_proof", "proof_report"):
            sys.modules.pop(imported, None)
        return runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")

    return run


def test_a_classifier_is_trained_with_its_counts_and_goes_on_where_it_was_cut_off(example, inputs, tmp_path, capsys):
    arguments = [*inputs, *QUIET, f"--output_dir={tmp_path / 'out'}", "--per_device_train_batch_size=50"]
    example("train/train_image_classifier", [*arguments, "--num_train_epochs=2"])
    example("train/train_image_classifier", [*arguments, "--num_train_epochs=6"])
    state = json.loads(next((tmp_path / "out").glob("checkpoint-*/trainer_state.json")).read_text())
    assert state["global_step"] == 6 * 4
    metrics = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert metrics["test_accuracy"] > 0.9
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "out")
    counts = PairCounts.load(tmp_path / "out" / "pair_counts.safetensors")
    assert counts.examples.tolist() == [50] * 4 and counts.keys == model.bottleneck.keys_id
    assert model.config.id2label[1] == "green"


def test_settings_are_compared_on_images_held_out_of_the_training_split(example, inputs, tmp_path, capsys):
    out = tmp_path / "out"
    more = [*QUIET, f"--output_dir={out}", "--num_train_epochs=2", "--validation_samples=80"]
    example("train/train_image_classifier", [*inputs, *more])
    counts = PairCounts.load(out / "pair_counts.safetensors")
    assert counts.examples.sum() == 120  # of 200
    metrics = json.loads((out / "all_results.json").read_text())
    assert metrics["test_accuracy"] * 80 == pytest.approx(round(metrics["test_accuracy"] * 80))


def written_results(folder, seeds):
    """What reproduce_dkvb.py keeps, planted, of so many seeds."""
    (folder / "arguments.json").write_text(
        json.dumps({"model_name_or_path": "a/resnet", "dataset_name": "cifar10", "preset": "paper"})
    )
    for seed in range(seeds):
        point = [Point(0, 0, 0.9, 0.8), Point(40, 30, 0.0, 0.81 + seed / 100)]
        frontiers = dict.fromkeys(("activations", "examples", "enrichment", "enriched at q <= 0.05", "random pairs"))
        made = Frontier("green", "activations", tuple(point), (10, 30), {"count": 40}).to_dict()
        epochs = [{"accuracy": {"retain": 0.8 + seed / 100, "forget": 0.9 - n}, "number": n} for n in (0, 0.9)]
        run = {"epochs": epochs, "chosen": 1}
        models = ("DKVB", "linear", "linear, chosen on held-out images")
        parts = {
            "accuracy": {f"{m}, {s}": [0.7, 0.8 + seed / 50, 0.9] for s in ("train", "test") for m in models},
            "class-1": dict.fromkeys(frontiers, made),
            "baselines": {"SCRUB, 3 max-steps": run, "fine-tuned on the rest": run},
            "runtimes": {"activations": 0.1 + seed},
            "retraining": {"activations": run, "examples": run},
            "settings-whitened": {"accuracy": [0.8, 0.9 + seed / 50, 0.7], "frontier": made},
        }
        (folder / f"seed-{seed}").mkdir()
        for name, part in parts.items():
            (folder / f"seed-{seed}" / f"{name}.json").write_text(json.dumps(part))
        told = {"DKVB, as trained": {"attacker": 0.9, "others": 0.8}}
        told |= {"DKVB, partial": {"attacker": 0.5 + seed / 50, "others": 0.79, "pairs": 30}}
        (folder / f"class-membership-{seed}.json").write_text(json.dumps(told))


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_cell_of_the_report_says_how_many_seeds_it_is_of(seeds, tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.config.rootpath / "examples" / "reproduce"))
    sys.modules.pop("dkvb_report", None)
    report = importlib.import_module("dkvb_report").report
    written_results(tmp_path, seeds)
    text = report(tmp_path, 1, 40)
    lines = text.splitlines()
    heads = {number - 1 for number, line in enumerate(lines) if line.startswith("|:")}
    rows = [line for number, line in enumerate(lines) if line.startswith("| ") and number not in heads]
    cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")[1:] if cell.strip() not in ("", "-")]
    all_classes = text.partition("## Each of")[2].partition("## Table 3")[0]  # of the first seed alone
    assert [cell for cell in cells if not cell.endswith((f"({seeds})", "(1)")) and cell not in all_classes] == []
    assert sum(cell.endswith(f"({seeds})") for cell in cells) > 30
    assert ("±" in text) == (seeds > 1)
    assert ("30 ± 0 (3)" if seeds > 1 else "30 (1)") in text
    assert len(list(tmp_path.glob("*.svg"))) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_the_reproduction_makes_every_table_and_figure_once(example, inputs, folder_of_images, tmp_path, capsys):
    more = {"seeds": 2, "membership_seeds": 1, "epochs": 4, "na": 400, "ne": 40, "steps": 4}
    more |= {"dataset_name": folder_of_images, "forget_class": "green"}
    arguments = [*inputs, *(f"--{name}={value}" for name, value in more.items()), f"--out={tmp_path}"]
    bundle = f"--bundle={tmp_path / 'shared' / 'bundle'}"
    also = ["--also", "paper-lacuna100", f"--docs={tmp_path / 'docs.md'}"]
    example("reproduce/reproduce_dkvb", [*arguments, bundle, *also])
    ledger = Unlearner.from_pretrained(tmp_path / "shared" / "bundle").ledger
    assert [(request.topic, request.kind) for request in ledger.requests] == [("green", "delete")]
    assert "#### Table 1" in (tmp_path / "shared" / "bundle" / "README.md").read_text()
    text = (tmp_path / "report.md").read_text()
    for title in ("Table 1", "Tables 2 and 9", "Each of 4 classes", "Table 3", "Table 8"):
        assert f"## {title}" in text
    assert "nan" not in text
    assert (tmp_path / "docs.md").read_text() == text
    assert "| paper-lacuna100 |" in text and "SCRUB+R, its authors' rule" in text and "ten points an epoch" in text
    table = text.partition("## Table 1")[2].partition("##")[0]
    assert table.count("(2)") >= 3 * 3 * 2  # every cell of both splits says its number of seeds
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    frontiers = json.loads((tmp_path / "seed-0" / "class-1.json").read_text())
    assert frontiers["activations"]["points"][0][2] > 0.9 > 0.5 > frontiers["activations"]["points"][-1][2]
    assert len(list(tmp_path.glob("*.svg"))) == 3
    capsys.readouterr()
    example("reproduce/reproduce_dkvb", arguments)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert capsys.readouterr().out.startswith("# Unlearning via Sparse Representations")


def test_a_class_under_attack_is_held_against_a_model_that_never_saw_it(example, inputs, tmp_path, capsys):
    data = next(name for name in inputs if name.startswith("--dataset_name"))
    labels = np.array(images(200)["label"])
    np.save(tmp_path / "rows.npy", np.flatnonzero(labels != 1))
    train = [*inputs, *QUIET, "--num_train_epochs=6", "--per_device_train_batch_size=50"]
    example("train/train_image_classifier", [*train, f"--output_dir={tmp_path / 'model'}"])
    never = [f"--output_dir={tmp_path / 'never'}", f"--train_rows={tmp_path / 'rows.npy'}"]
    example("train/train_image_classifier", [*train, *never])
    out = tmp_path / "out"
    arguments = [f"--model={tmp_path / 'model'}", f"--never_saw={tmp_path / 'never'}", data, f"--out={out}"]
    example("reproduce/reproduce_proof_classes", [*arguments, "--classes", "green", "--na=400"])
    accuracy = json.loads((out / "green/codes/accuracy.json").read_text())
    shares = {name: accuracy[name]["heldout"] for name in ("before", "after", "never saw it")}
    assert shares["before"]["hits"] > 15 and shares["after"]["hits"] < 5 and shares["never saw it"]["hits"] == 0
    told = json.loads((out / "green/codes/attacks.json").read_text())
    assert [result["attack"] for result in told["results"]] == ["left out", "made again", "learnt again", "rounded"]
    learnt = told["results"][2]
    assert learnt["verdict"] != "not measured" and learnt["attempts"][0]["settings"]["opened"] == "as shared"
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    assert "| green" in (out / "proof.md").read_text()
    example("reproduce/reproduce_proof_classes", [*arguments, "--classes", "green", "--na=400"])
    assert {path: path.stat().st_mtime_ns for path in made} == made
