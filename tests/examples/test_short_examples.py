"""The two short examples run as they stand, at small size."""

import re
import runpy
import sys

import pytest
import sklearn.datasets
from sklearn.datasets import load_digits
from transformers import ResNetModel

import excise.data
from excise import Unlearner
from excise.data import load_demo, train_tokenizer
from tests.helpers import tiny, tiny_images

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument")


@pytest.fixture
def example(request, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(request.config.rootpath / "examples" / f"{name}.py"))

    return run


def accuracies(text: str) -> dict[str, list[float]]:
    """By condition, on the class and on others."""
    rows = re.findall(r"^(before|after|random codes) +\| (\S+) \[.*?\| (\S+) \[", text, re.MULTILINE)
    return {condition: [float(of_class), float(of_others)] for condition, of_class, of_others in rows}


def test_a_class_that_was_learned_is_forgotten_and_the_others_stay(example, capsys):
    unlearner = example("forget_a_class")["unlearner"]
    scores = accuracies(capsys.readouterr().out)
    assert min(scores["before"]) > 0.8 and scores["after"][0] < 0.05
    assert scores["after"][1] > scores["before"][1] - 0.02
    assert scores["random codes"][0] > 0.8
    assert [(request.topic, request.kind) for request in unlearner.ledger.requests] == [("3", "mask")]
    assert "counts" in unlearner.ledger.requests[0].data


def test_an_encoder_of_ones_own_learns_and_forgets_the_class(example, tmp_path, capsys, monkeypatch):
    digits = load_digits()
    digits.images, digits.target = digits.images[:800], digits.target[:800]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    ResNetModel(tiny_images.ENCODERS["resnet"]).save_pretrained(tmp_path / "encoder")
    tiny_images.processor().save_pretrained(tmp_path / "encoder")
    assert type(example("forget_a_class", tmp_path / "encoder")["model"].encoder) is ResNetModel
    assert accuracies(capsys.readouterr().out)["after"][0] < 0.2


def test_a_word_is_forgotten_and_the_model_saved(example, tmp_path, capsys, monkeypatch):
    pairs = load_demo()
    for split, others in {"train": 600, "test": 60}.items():
        dogs = [i for i, pair in enumerate(pairs[split]["translation"]) if "dog" in pair["en"]]
        pairs[split] = pairs[split].select([*range(others), *(i for i in dogs if i >= others)])
    monkeypatch.setattr(excise.data, "load_demo", lambda: pairs)
    tokenizer = train_tokenizer([text for pair in pairs["train"]["translation"] for text in pair.values()], 400)
    tokenizer.save_pretrained(tmp_path / "t5")
    tiny.base_t5(vocab_size=len(tokenizer)).save_pretrained(tmp_path / "t5")
    example("forget_a_word", "--model", tmp_path / "t5", "--word", "dog", "--codes", 200, "--steps", 2)
    assert "after" in capsys.readouterr().out
    (request,) = Unlearner.from_pretrained(tmp_path / "unlearned").ledger.requests
    assert request.topic == "dog" and request.num_codes
