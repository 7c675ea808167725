"""The example that trains a CLIP runs at tiny size, goes on where it was cut off, and takes a codebook."""

import json
import runpy
import sys

import pytest
import torch
from datasets import DatasetDict
from transformers import AutoModel, AutoProcessor

from excise import CodebookCLIPModel, Unlearner, class_sets, evaluate_classes
from excise.bottlenecks.site import bottlenecks
from excise.evaluation import predict_classes
from tests.helpers import tiny

QUIET = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true", "--dataloader_pin_memory", "false"]
SIZE = ["--image_size", "8", "--vision_width", "16", "--vision_layers", "2", "--text_width", "16", "--text_layers", "1"]
TRAIN = ["--do_train", "--do_eval", "--per_device_train_batch_size", "12", "--max_train_samples", "48"]


@pytest.fixture(scope="module")
def example(request):
    return runpy.run_path(str(request.config.rootpath / "examples" / "train" / "train_clip.py"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "colours"
    DatasetDict(train=tiny.images(60), test=tiny.images(30, seed=1)).save_to_disk(str(folder))
    return ["--dataset_name", str(folder)]


@pytest.fixture(scope="module")
def plain(example, data, tmp_path_factory):
    """A small CLIP that was trained from nothing, and its metrics."""
    folder = tmp_path_factory.mktemp("plain")
    steps = ["--max_steps", "30", "--learning_rate", "5e-3"]
    return folder, example["main"]([*data, *QUIET, *SIZE, *TRAIN, *steps, "--output_dir", str(folder)])


def test_a_clip_learns_the_classes_from_captions(plain):
    folder, metrics = plain
    assert metrics["eval_accuracy"] > 0.6  # of three colours
    assert json.loads((folder / "eval_results.json").read_text())["eval_accuracy"] == metrics["eval_accuracy"]


def test_with_a_codebook_it_goes_on_and_an_unlearner_takes_it(example, data, plain, tmp_path):
    arguments = ["--model_name_or_path", str(plain[0]), "--codebook", "--num_codes", "40", "--top_s", "3"]
    arguments += ["--init_tokens", "200", "--init_steps", "5", "--max_steps", "10", "--learning_rate", "1e-3"]
    metrics = example["main"]([*data, *QUIET, *TRAIN, *arguments, "--output_dir", str(tmp_path / "out")])
    unlearner = Unlearner.from_pretrained(tmp_path / "out")
    assert type(unlearner.model) is CodebookCLIPModel
    assert list(bottlenecks(unlearner.model)) == ["encoder.layers.1"]  # the last
    assert bottlenecks(unlearner.model)["encoder.layers.1"].min_similarity > -1
    sets = class_sets(tiny.images(60), "red", test=tiny.images(30, seed=1), min_examples=4)
    found = evaluate_classes(unlearner, sets, templates=example["TEMPLATES"], progress=False).scores["before"]
    assert sum(found[name]["hits"] for name in found) == metrics["eval_hits"]


def test_a_run_that_was_cut_off_goes_on_from_its_last_checkpoint(example, data, tmp_path):
    def run(steps):
        arguments = [*data, *QUIET, *SIZE, *TRAIN, "--output_dir", str(tmp_path), "--logging_steps", "1"]
        example["main"]([*arguments, "--save_steps", "2", "--max_steps", str(steps)])
        return tmp_path / f"checkpoint-{steps}" / "trainer_state.json"

    state = run(2)
    state.write_text(json.dumps(json.loads(state.read_text()) | {"log_history": [{"loss": "of the first run"}]}))
    losses = [log["loss"] for log in json.loads(run(4).read_text())["log_history"]]
    assert losses[0] == "of the first run" and len(losses) == 3


def test_captions_of_one_class_are_right_for_all_its_images(example):
    logits, labels = torch.randn(4, 4), torch.tensor([0, 1, 0, 2])
    rows = logits.log_softmax(1)
    columns = logits.log_softmax(0)
    expected = 0
    for i in range(4):
        same = [j for j in range(4) if labels[i] == labels[j]]
        expected -= sum(rows[i, j] + columns[j, i] for j in same) / len(same) / 8
    torch.testing.assert_close(example["contrastive_loss"](logits, labels), expected)
    distinct = example["contrastive_loss"](logits, torch.arange(4))
    torch.testing.assert_close(distinct, -(rows.diagonal().mean() + columns.diagonal().mean()) / 2)


def test_the_end_of_a_caption_is_where_clip_looks_for_it(example):
    processor = example["new_processor"](tiny.CLASSES, 8)
    ids = processor.tokenizer(["a photo of a red", "this is a BLUE"], padding=True)["input_ids"]
    end = processor.tokenizer.eos_token_id
    assert [row.count(end) for row in ids] == [1, 1] and end != 2
    assert processor.tokenizer.unk_token_id not in ids[0] + ids[1]


def test_a_shifted_image_keeps_its_size(example):
    image = tiny.images(1)[0]["image"]
    found = [example["augmented"](image) for _ in range(20)]
    assert {pixels.shape for pixels in found} == {(8, 8, 3)}
    assert len({pixels.tobytes() for pixels in found}) > 5


def test_a_codebook_without_a_trained_clip_is_refused(example, data, tmp_path):
    with pytest.raises(ValueError, match="model_name_or_path"):
        example["main"]([*data, *QUIET, "--codebook", "--output_dir", str(tmp_path)])


def test_the_reproduction_forgets_each_class_and_reports(example, data, plain, tmp_path, monkeypatch, request):
    arguments = ["--model_name_or_path", str(plain[0]), "--codebook", "--num_codes", "40", "--top_s", "3"]
    arguments += ["--init_tokens", "200", "--init_steps", "5", "--max_steps", "10", "--learning_rate", "1e-3"]
    example["main"]([*data, *QUIET, *TRAIN, *arguments, "--output_dir", str(tmp_path / "codebook")])
    given = {"model": tmp_path / "codebook", "plain": plain[0], "dataset_name": data[1], "out": tmp_path / "out"}
    argv = [f"--{name}={value}" for name, value in given.items()]
    argv += ["--examples=20", "--q=1.0", "--multiple=1", "--rounds=1", "--forget_class=red"]
    monkeypatch.setattr(sys, "argv", ["reproduce_clip", *argv, f"--bundle={tmp_path / 'bundle'}"])
    runpy.run_path(str(request.config.rootpath / "examples" / "reproduce" / "reproduce_clip.py"), run_name="__main__")
    text = (tmp_path / "out" / "report.md").read_text()
    assert all(f"| {name} |" in text for name in (*tiny.CLASSES, "mean"))
    ledger = Unlearner.from_pretrained(tmp_path / "bundle").ledger
    assert [(request.topic, request.kind) for request in ledger.requests] == [("red", "delete")]
    assert "### Each class forgotten" in (tmp_path / "bundle" / "README.md").read_text()


def test_a_model_can_be_trained_without_a_class(example, data, tmp_path):
    """It knows the class's name, and never saw an image of it."""
    arguments = [*data, *QUIET, *SIZE, *TRAIN, "--max_steps", "30", "--learning_rate", "5e-3", "--output_dir"]
    example["main"]([*arguments, str(tmp_path / "never"), "--exclude_classes", "red"])
    rows = tiny.images(30, seed=1)
    model, processor = (kind.from_pretrained(tmp_path / "never") for kind in (AutoModel, AutoProcessor))
    found = predict_classes(model, processor, rows, tiny.CLASSES, templates=example["TEMPLATES"])
    of_red = [name == "red" for name, label in zip(found, rows["label"], strict=True) if tiny.CLASSES[label] == "red"]
    assert len(of_red) == 10 and sum(of_red) <= 3
    with pytest.raises(ValueError, match="--exclude_classes pink: expected some of"):
        example["main"]([*arguments, str(tmp_path / "no"), "--exclude_classes", "pink"])
    with pytest.raises(ValueError, match="leaves no image"):
        example["main"]([*arguments, str(tmp_path / "no"), "--exclude_classes", *tiny.CLASSES])
