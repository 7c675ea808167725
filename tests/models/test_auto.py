"""What transformers' `Auto*` classes load from a folder that excise's models were saved in."""

import importlib
import subprocess
import sys

import pytest
from datasets import Dataset, Features, Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer, pipeline
from transformers.models.auto.auto_factory import _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, _LazyConfigMapping

from excise import CodebookCLIPForImageClassification, CodebookCLIPVisionModel
from excise.models.auto import LIKE, MODELS, NO_TEXT, PROCESSORS
from tests.helpers import tiny


@pytest.fixture
def picture():
    pixels = tiny.pixels(1)[0].permute(1, 2, 0).clamp(0, 1).mul(255).byte().numpy()
    return Dataset.from_dict({"image": [pixels]}, features=Features({"image": Image()}))[0]["image"]


def test_a_processor_saved_beside_a_clip_loads_whole_and_in_parts(tmp_path, picture):
    processor = tiny.clip_processor()
    tiny.codebook_clip().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    whole = AutoProcessor.from_pretrained(tmp_path)
    assert type(whole) is type(processor)
    for images in (whole.image_processor, AutoImageProcessor.from_pretrained(tmp_path)):
        expected = processor(images=picture, return_tensors="pt")["pixel_values"]
        assert images(picture, return_tensors="pt")["pixel_values"].equal(expected)
    for words in (whole.tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        assert words("the cat sat")["input_ids"] == tiny.tokenizer()("the cat sat")["input_ids"]


@pytest.mark.parametrize("model_class", [CodebookCLIPVisionModel, CodebookCLIPForImageClassification])
def test_an_image_processor_alone_loads(tmp_path, picture, model_class):
    tiny.codebook_clip(model_class).save_pretrained(tmp_path)
    tiny.image_processor().save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert loaded(picture, return_tensors="pt")["pixel_values"].shape == (1, 3, 8, 8)


def test_an_image_processor_without_a_type_of_its_own_is_that_of_the_model_type(tmp_path):
    tiny.codebook_clip(CodebookCLIPVisionModel).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 8}}')
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is type(tiny.image_processor())


@pytest.mark.parametrize(("kind", "config"), [("whole", "CodebookCLIPConfig"), ("tower", "CodebookCLIPVisionConfig")])
def test_the_base_classes_load_a_clip_and_its_tower(tmp_path, kind, config):
    model = tiny.codebook_clip()
    (model if kind == "whole" else model.vision_model).save_pretrained(tmp_path)
    found = AutoConfig.from_pretrained(tmp_path)
    assert type(found).__name__ == config
    assert AutoModel.from_pretrained(tmp_path).config.model_type == found.model_type


def test_a_pipeline_classifies_by_class_names_that_it_was_not_trained_on(tmp_path, picture):
    tiny.codebook_clip().save_pretrained(tmp_path)
    tiny.clip_processor().save_pretrained(tmp_path)
    classify = pipeline("zero-shot-image-classification", model=str(tmp_path), device="cpu")
    found = classify(picture, candidate_labels=["cat", "dog"], hypothesis_template="the {}")
    assert {row["label"] for row in found} == {"cat", "dog"}
    assert sum(row["score"] for row in found) == pytest.approx(1)


def test_a_pipeline_classifies_with_the_classifiers_names(tmp_path, picture):
    tiny.codebook_clip(CodebookCLIPForImageClassification).save_pretrained(tmp_path)
    tiny.image_processor().save_pretrained(tmp_path)
    found = pipeline("image-classification", model=str(tmp_path), device="cpu")(picture)
    assert {row["label"] for row in found} == {"class 0", "class 1", "class 2"}


# transformers' private tables, each by its name: what excise/models/auto.py enters in them, and how it is read there.
MODEL_TABLES = sorted({table for _, _, models in MODELS.values() for table in models})


def config_class(model_type):
    module, config, _ = MODELS[model_type]
    return getattr(importlib.import_module(module), config)


def private(table, kind, *names):
    """Makes sure that a table is of the kind that is known, with its private dictionaries."""
    assert type(table) is kind, f"it is a {type(table).__name__} now"
    for name in names:
        assert isinstance(getattr(table, name, None), dict), f"{kind.__name__}.{name} is no dictionary any more"


def test_the_private_table_of_configs_is_as_it_was_when_ours_were_entered():
    private(CONFIG_MAPPING, _LazyConfigMapping, "_mapping", "_modules")
    for model_type, (module, config, _) in MODELS.items():
        assert CONFIG_MAPPING._mapping[model_type] == config
        assert CONFIG_MAPPING._modules[model_type] is sys.modules[module]
        assert CONFIG_MAPPING[model_type] is config_class(model_type)
        assert model_type in CONFIG_MAPPING


@pytest.mark.parametrize("name", MODEL_TABLES)
def test_a_private_table_of_models_is_as_it_was_when_ours_were_entered(name):
    table = getattr(importlib.import_module("transformers.models.auto.modeling_auto"), name)
    private(table, _LazyAutoMapping, "_reverse_config_mapping", "_model_mapping", "_modules")
    ours = {model_type: models[name] for model_type, (_, _, models) in MODELS.items() if name in models}
    assert ours
    for model_type, model in ours.items():
        module, config, _ = MODELS[model_type]
        assert table._reverse_config_mapping[config] == model_type
        assert table._model_mapping[model_type] == model
        assert table._modules[model_type] is sys.modules[module]
        assert config_class(model_type) in table
        assert table[config_class(model_type)] is getattr(sys.modules[module], model)


@pytest.mark.parametrize(("module", "name"), PROCESSORS.items(), ids=PROCESSORS.values())
def test_a_private_table_of_processors_is_as_it_was_when_ours_were_entered(module, name):
    table = getattr(importlib.import_module(f"transformers.models.auto.{module}"), name)
    private(table, _LazyAutoMapping, "_reverse_config_mapping", "_model_mapping", "_modules")
    text = name != "IMAGE_PROCESSOR_MAPPING"
    ours = {own: like for own, like in LIKE.items() if like in table._model_mapping and not (text and own in NO_TEXT)}
    assert ours
    for model_type, like in ours.items():
        assert table._model_mapping[model_type] == table._model_mapping[like]
        assert table[config_class(model_type)] == table[CONFIG_MAPPING[like]]


PLAIN = ("T5ForConditionalGeneration", "CLIPModel", "Trainer", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor")


@pytest.mark.parametrize("name", [*PLAIN[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in PLAIN[2:])])
def test_what_is_transformers_own_can_be_imported_after_excise_and_brings_no_model_of_excise(name):
    code = f"import sys, excise; from transformers import {name}; "
    code += "print([module for module in sys.modules if 'modeling_codebook' in module])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
