"""Checkpoints in a Python that has no excise."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSeq2SeqLM, set_seed

from excise import (
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    CodebookT5ForConditionalGeneration,
    KeyValueForImageClassification,
    Unlearner,
)
from excise.codes.selection import Selection
from excise.models.auto import MODELS
from excise.models.loading import load_model
from excise.models.remote_code import CODE_NAME, auto_map, remote_code, requirements, write_remote_code
from tests.helpers import tiny, tiny_images
from tests.helpers.without_excise import answers

SCRIPT = Path(__file__).parents[1] / "helpers" / "without_excise.py"
VISION_SITE = "encoder.layers.2"


def clip(model_class):
    return tiny.codebook_clip(model_class)


def pixels() -> dict:
    return {"pixel_values": tiny.pixels()}


def no_loss() -> dict:
    return {key: value for key, value in tiny.pairs().items() if key != "return_loss"}


# name: a model, the class that opens it, its inputs, the codes to mask, and what is saved beside it
CASES = {
    "t5": (
        lambda: tiny.codebook_t5((0, 2)),
        "AutoModelForSeq2SeqLM",
        tiny.batch,
        {"encoder.block.0": [4], "encoder.block.2": [0, 3, 5, 8]},
        ("AutoTokenizer", tiny.tokenizer),
    ),
    "t5-packed-ledger": (
        lambda: tiny.codebook_t5(num_codes=1_300),
        "AutoModelForSeq2SeqLM",
        tiny.batch,
        {"encoder.block.2": range(1_200)},
        None,
    ),
    "clip": (lambda: clip(CodebookCLIPModel), "AutoModel", no_loss, {VISION_SITE: range(24)}, None),
    "clip-zero-shot": (
        lambda: clip(CodebookCLIPModel),
        "AutoModelForZeroShotImageClassification",
        no_loss,
        {VISION_SITE: range(24)},
        ("AutoProcessor", tiny.clip_processor),
    ),
    "clip-vision": (
        lambda: clip(CodebookCLIPVisionModel),
        "AutoModel",
        pixels,
        {VISION_SITE: range(24)},
        ("AutoImageProcessor", tiny.image_processor),
    ),
    "clip-classifier": (
        lambda: clip(CodebookCLIPForImageClassification),
        "AutoModelForImageClassification",
        pixels,
        {VISION_SITE: range(24)},
        None,
    ),
    "key-value-resnet": (
        lambda: tiny_images.key_value_model("resnet"),
        "AutoModelForImageClassification",
        tiny_images.image_batch,
        {"bottleneck": range(0, 300, 7)},
        ("AutoImageProcessor", tiny_images.processor),
    ),
    "key-value-vit": (
        lambda: tiny_images.key_value_model("vit", top_k=2),
        "AutoModelForImageClassification",
        tiny_images.image_batch,
        {"bottleneck": range(0, 300, 7)},
        None,
    ),
}
# Others of a kind that is there: each is a process that loads everything.
ALIKE = ("t5-packed-ledger", "clip-zero-shot", "clip-vision")
LOADED = [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else (), id=name) for name in CASES]


def unlearned(name: str):
    """A model with a mask, and a deletion of one code more."""
    make, _, _, codes, _ = CASES[name]
    set_seed(0)  # a fixture of a module is made before a test's own seed is set
    unlearner = Unlearner(make(), None)
    unlearner.mask(Selection({site: list(ids) for site, ids in codes.items()}), "a topic")
    site, ids = next(iter(codes.items()))
    unlearner.delete(Selection({site: [max(ids) + 1]}), "another")
    return unlearner.model


def tamper(folder: Path) -> None:
    """Brings one masked code back."""
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith(".live") and not weights[name].all())
    weights[name][weights[name].logical_not().nonzero()[0]] = True
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each case, with its checkpoint, the tampered copy and the inputs."""
    root = tmp_path_factory.mktemp("remote")
    for name, (_, _, inputs, _, beside) in CASES.items():
        model = unlearned(name)
        model.save_pretrained(root / name / "model")
        if beside is not None:
            beside[1]().save_pretrained(root / name / "model")
        write_remote_code(model, root / name / "model")
        shutil.copytree(root / name / "model", root / name / "tampered")
        tamper(root / name / "tampered")
        torch.save(inputs(), root / name / "inputs.pt")
    return root


@pytest.fixture(scope="module")
def found(folders):
    """What a Python without excise found in each of them: one start of transformers for all."""
    cases = {
        name: {
            "auto": auto,
            "folder": str(folders / name / "model"),
            "tampered": str(folders / name / "tampered"),
            "inputs": str(folders / name / "inputs.pt"),
            "saved": str(folders / name / "saved"),
        }
        | ({} if beside is None else {"processor": beside[0]})
        for name, (_, auto, _, _, beside) in CASES.items()
    }
    (folders / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, folders / "cases.json", folders / "found.pt"],
        env=environment | {"HF_MODULES_CACHE": str(folders / "modules"), "HF_HUB_OFFLINE": "1"},
        cwd=folders,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return torch.load(folders / "found.pt")


def same(one: dict, other: dict) -> bool:
    tensors = [(one["output"], other["output"])] + [(one["live"][k], other["live"][k]) for k in other["live"]]
    tensors += [(one["generated"], other["generated"])] if "generated" in other else []
    return one["live"].keys() == other["live"].keys() and all(torch.equal(a, b) for a, b in tensors)


@pytest.mark.parametrize("name", LOADED)
def test_without_excise_a_model_answers_to_the_bit_as_with_it(found, folders, name):
    inputs = torch.load(folders / name / "inputs.pt")
    expected = answers(load_model(folders / name / "model"), inputs)
    assert same(found[name], expected)
    assert found[name]["module"].startswith("transformers_modules.")
    assert any(not live.all() for live in expected["live"].values())


@pytest.mark.parametrize("name", LOADED)
def test_the_masks_of_these_models_change_what_they_answer(found, folders, name):
    unlearner = Unlearner(load_model(folders / name / "model"), None)
    with unlearner.without_masks():
        before = answers(unlearner.model, torch.load(folders / name / "inputs.pt"))
    assert not torch.equal(before["output"], found[name]["output"])


@pytest.mark.parametrize("name", LOADED)
def test_without_excise_a_tampered_mask_does_not_load(found, name):
    assert found[name]["refused"] == "MaskMismatchError"


@pytest.mark.parametrize("name", LOADED)
def test_without_excise_code_runs_only_where_it_is_trusted(found, name):
    assert "trust_remote_code=True" in found[name]["untrusted"]


@pytest.mark.parametrize("name", LOADED)
def test_without_excise_config_and_model_have_one_class_of_config(found, folders, name):
    config = AutoConfig.from_pretrained(folders / name / "model")
    assert found[name]["config"] == (True, type(config).__name__)


@pytest.mark.parametrize("name", [name for name in LOADED if CASES[name.values[0]][4]])
def test_without_excise_what_is_saved_beside_a_model_loads(found, name):
    assert found[name]["processor"] == type(CASES[name][4][1]()).__name__


@pytest.mark.parametrize("name", LOADED)
def test_what_is_saved_without_excise_loads_without_and_with_it(found, folders, name):
    inputs = torch.load(folders / name / "inputs.pt")
    assert same(found[name]["again"], found[name])
    assert same(found[name], answers(load_model(folders / name / "saved"), inputs))
    code = [(folders / name / folder / CODE_NAME).read_bytes() for folder in ("model", "saved")]
    assert code[0] == code[1]


def test_with_excise_its_own_classes_open_the_folder_trusted_or_not(folders):
    for trust in (None, False, True):
        model = AutoModelForSeq2SeqLM.from_pretrained(folders / "t5" / "model", trust_remote_code=trust)
        assert type(model) is CodebookT5ForConditionalGeneration
        model = AutoModelForImageClassification.from_pretrained(
            folders / "key-value-vit" / "model", trust_remote_code=trust
        )
        assert type(model) is KeyValueForImageClassification


def test_a_save_by_excise_names_no_code_that_is_not_there(folders, tmp_path):
    model = load_model(folders / "clip" / "model")
    model.save_pretrained(tmp_path)
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    assert not list(tmp_path.glob("*.py"))
    write_remote_code(model, tmp_path)
    assert (tmp_path / CODE_NAME).read_bytes() == (folders / "clip" / "model" / CODE_NAME).read_bytes()
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == auto_map("codebook_clip")


@pytest.mark.parametrize("model_type", MODELS)
def test_the_code_of_a_model_type_imports_nothing_of_excise_and_only_what_it_asks_for(model_type):
    tree = ast.parse(remote_code(model_type))
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            roots.add(node.module.partition(".")[0])
    named = {line.partition(">")[0].partition("<")[0] for line in requirements(model_type)}
    assert roots - sys.stdlib_module_names == named
    # What `transformers[torch]` brings. Each package more is one more for a stranger to install.
    assert named <= {"accelerate", "huggingface_hub", "numpy", "safetensors", "torch", "transformers"}


@pytest.mark.parametrize("model_type", MODELS)
def test_every_class_that_the_config_names_is_in_the_code(model_type):
    defined = {node.name for node in ast.parse(remote_code(model_type)).body if isinstance(node, ast.ClassDef)}
    classes = auto_map(model_type)
    assert {name.partition(".")[2] for name in classes.values()} <= defined
    assert {name.partition(".")[0] for name in classes.values()} == {Path(CODE_NAME).stem}
    assert "AutoConfig" in classes and len(classes) > 1


def test_the_requirements_are_those_of_excise(root, tmp_path):
    model = unlearned("clip")
    model.save_pretrained(tmp_path)
    code, named = write_remote_code(model, tmp_path)
    assert code == tmp_path / CODE_NAME
    wanted = {"".join(sorted(line.strip())) for line in (root / "setup.cfg").read_text().splitlines()}
    assert named.read_text().split() == requirements("codebook_clip")
    assert all("".join(sorted(line)) in wanted for line in named.read_text().split())


def test_only_the_map_of_classes_is_new_in_the_config(tmp_path):
    model = unlearned("t5")
    model.save_pretrained(tmp_path)
    before = json.loads((tmp_path / "config.json").read_text())
    write_remote_code(model.config, tmp_path)
    after = json.loads((tmp_path / "config.json").read_text())
    assert after == before | {
        "auto_map": {
            "AutoConfig": "modeling_excise.CodebookT5Config",
            "AutoModel": "modeling_excise.CodebookT5ForConditionalGeneration",
            "AutoModelForPreTraining": "modeling_excise.CodebookT5ForConditionalGeneration",
            "AutoModelForSeq2SeqLM": "modeling_excise.CodebookT5ForConditionalGeneration",
        }
    }


def refused(model, folder, error, message) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    with pytest.raises(error, match=message):
        write_remote_code(model, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_a_model_that_is_not_excises_is_refused(tmp_path):
    tiny.base_t5().save_pretrained(tmp_path)
    refused(tiny.base_t5(), tmp_path, ValueError, "'t5' model is none of excise's")


def test_a_folder_of_another_model_is_refused(tmp_path):
    tiny.base_t5().save_pretrained(tmp_path)
    refused(tiny.codebook_t5(), tmp_path, ValueError, "holds a 't5' model, not the 'codebook_t5'")


def test_a_folder_without_a_model_is_refused(tmp_path):
    refused(tiny.codebook_t5(), tmp_path, FileNotFoundError, "Save the model there first")


def test_an_encoder_that_only_excise_can_load_is_refused(tmp_path):
    encoder = clip(CodebookCLIPVisionModel).config
    model = tiny_images.key_value_model(encoder)
    model.save_pretrained(tmp_path)
    refused(model, tmp_path, ValueError, "'codebook_clip_vision_model' model, which only excise can load")
