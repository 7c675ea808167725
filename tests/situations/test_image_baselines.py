"""Baselines on images whose classes stand in another order than the model's."""

import copy

import numpy as np
import pytest
import torch
from datasets import Dataset

from excise import CodebookCLIPForImageClassification
from excise.baselines import (
    BaselineTable,
    LinearClassifier,
    LinearClassifierConfig,
    finetune,
    gradient_difference,
    retrain,
    scrub,
    scrub_rewind,
)
from excise.baselines.hyperparameters import Hyperparameters
from excise.models import image_inputs
from tests.helpers import tiny

ARGS = Hyperparameters(0.001, 1, batch_size=8).arguments(use_cpu=True)


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    model = tiny.codebook_clip(CodebookCLIPForImageClassification)
    model.config.id2label = dict(enumerate(("blue", "red", "green")))
    return model


@pytest.fixture(scope="module")
def sets(clip):
    rows = tiny.images(18)
    parts = [rows.select([i for i in range(18) if (i % 3 == 0) == inside]) for inside in (True, False)]
    return [image_inputs(clip, part, tiny.image_processor()) for part in parts]


RUNS = {
    "scrub": lambda model, forget, retain, args: scrub(model, forget, retain, args),
    "scrub_rewind": lambda model, forget, retain, args: scrub_rewind(model, forget, retain, forget, args),
    "gradient_difference": lambda model, forget, retain, args: gradient_difference(model, forget, retain, args),
    "finetune": lambda model, forget, retain, args: finetune(model, retain, args),
    "retrain": lambda model, forget, retain, args: retrain(lambda: copy.deepcopy(model), retain, args),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_every_baseline_takes_images(clip, sets, run):
    made = run(clip, *sets, ARGS)
    assert made.epoch == 1 and made.model is not clip


def test_labels_are_the_models(sets):
    assert [sets[0][i]["labels"] for i in range(6)] == [1] * 6
    assert {row["labels"] for row in sets[1]} == {0, 2}


def test_images_as_they_are_stored_and_labels_in_another_order_are_refused(clip):
    rows = tiny.images(18)
    with pytest.raises(ValueError, match=r"forget set has images as they are stored, in 'image'.*image_inputs"):
        scrub(clip, rows, rows, ARGS)
    encoded = rows.map(lambda row: {"pixel_values": np.zeros((3, 8, 8), np.float32)}).with_format("torch")
    with pytest.raises(ValueError, match="classes of the forget set stand in another order than the model's, blue"):
        scrub(clip, encoded, encoded, ARGS)


def test_retraining_of_a_model_begins_anew_but_for_what_is_frozen(clip, sets):
    with pytest.raises(ValueError, match="codes or keys of a CodebookCLIPForImageClassification were initialised"):
        retrain(clip, sets[1], ARGS)
    with pytest.raises(ValueError, match="expected a model, or a function that makes one"):
        retrain("resnet50", sets[1], ARGS)
    model = LinearClassifier(LinearClassifierConfig(hidden_size=4, num_labels=4))
    model.classifier.weight.data.fill_(7)
    model.classifier.bias.requires_grad_(False).fill_(3.0)
    rows = Dataset.from_dict({"encodings": torch.eye(4).tolist(), "labels": [0, 1, 2, 3]}).with_format("torch")
    run = retrain(model, rows, ARGS)
    assert (run.model.classifier.bias == 3).all() and not (run.model.classifier.weight == 7).any()
    assert (model.classifier.weight == 7).all()


def test_runs_make_a_table(clip, sets):
    tests = {"forget": sets[0], "retain": sets[1]}
    runs = {"SCRUB": scrub(clip, *sets, ARGS), "tuned": finetune(clip, sets[1], ARGS, evaluate_on=tests)}
    table = BaselineTable(runs)
    rows = table.to_pandas().set_index("baseline")
    assert rows.loc["tuned", "error on retain"] == 1 - runs["tuned"].accuracy["retain"]
    assert rows.loc["SCRUB", "seconds"] == runs["SCRUB"].seconds
    assert "| SCRUB" in str(table) and "error on forget" in str(table) and "<table" in table._repr_html_()
    with pytest.raises(ValueError, match="'bare' was evaluated on nothing, and 'SCRUB' on forget, retain"):
        BaselineTable(runs | {"bare": finetune(clip, sets[1], ARGS)})
    with pytest.raises(ValueError, match="there is none"):
        BaselineTable({})
    with pytest.raises(ValueError, match="'a' is a str"):
        BaselineTable({"a": "b"})
