"""What transformers' `Auto*` classes load from a folder that excise's models were saved in."""

import pytest
from datasets import Dataset, Features, Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer, pipeline

from excise import CodebookCLIPForImageClassification, CodebookCLIPVisionModel
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
