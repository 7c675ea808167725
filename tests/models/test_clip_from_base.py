"""A bottleneck put on a plain CLIP leaves the rest of it exactly as it was."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPForImageClassification, CLIPVisionModel, T5Config

from excise import CodebookCLIPForImageClassification, CodebookCLIPModel, CodebookCLIPVisionModel
from excise.bottlenecks.site import bottlenecks
from tests.helpers import tiny

MODELS = [CodebookCLIPModel, CodebookCLIPVisionModel, CodebookCLIPForImageClassification]


def let_through(model) -> None:
    """Has the bottlenecks change nothing."""
    for module in bottlenecks(model).values():
        module.register_forward_hook(
            lambda module, args, output: output.__setitem__("reconstruction", args[0]) or output
        )


@pytest.mark.parametrize("layers", [[0], [2], [0, 1, 2]], ids=str)
def test_base_weights_and_logits_are_those_of_the_plain_model(tmp_path, layers):
    plain = tiny.base_clip()
    plain.save_pretrained(tmp_path)
    model = CodebookCLIPModel.from_base(tmp_path, tiny.bottleneck_config(), layers=layers)
    assert list(bottlenecks(model)) == [f"encoder.layers.{i}" for i in layers]
    state = model.state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(state.pop(key), value), key
    assert state
    assert all(".bottleneck." in key and value.isfinite().all() for key, value in state.items())
    expected = plain(**tiny.pairs())
    assert not torch.allclose(model(**tiny.pairs()).logits_per_image, expected.logits_per_image)
    let_through(model)
    output = model(**tiny.pairs())
    torch.testing.assert_close(output.logits_per_image, expected.logits_per_image)
    torch.testing.assert_close(output.task_loss, expected.loss)


@pytest.mark.parametrize("saved", ["clip", "vision"])
def test_a_vision_tower_is_that_of_the_plain_model(tmp_path, saved):
    plain = tiny.base_clip()
    (plain if saved == "clip" else plain.vision_model).save_pretrained(tmp_path)
    model = CodebookCLIPVisionModel.from_base(tmp_path, tiny.bottleneck_config(), layers=[1])
    let_through(model)
    expected = CLIPVisionModel.from_pretrained(tmp_path)(tiny.pixels())
    torch.testing.assert_close(model(tiny.pixels()).pooler_output, expected.pooler_output)
    assert model.config.model_type == "codebook_clip_vision_model"


def test_a_classifier_is_new_where_the_base_has_none_and_kept_where_it_has_one(tmp_path):
    tiny.base_clip().save_pretrained(tmp_path / "clip")
    new = CodebookCLIPForImageClassification.from_base(
        tmp_path / "clip", tiny.bottleneck_config(), classes=["cat", "dog", "bird"]
    )
    assert new.config.id2label == {0: "cat", 1: "dog", 2: "bird"} and new.config.label2id["bird"] == 2
    assert new(tiny.pixels()).logits.shape == (3, 3)
    assert all(p.isfinite().all() for p in new.parameters())

    plain = CLIPForImageClassification(tiny.base_clip().config)
    plain.save_pretrained(tmp_path / "classifier")
    kept = CodebookCLIPForImageClassification.from_base(tmp_path / "classifier", tiny.bottleneck_config())
    let_through(kept)
    torch.testing.assert_close(kept(tiny.pixels()).logits, plain.eval()(tiny.pixels()).logits)


@pytest.mark.parametrize("model_class", MODELS)
def test_the_bases_settings_are_kept_and_the_callers_config_is_left_alone(tmp_path, model_class):
    plain = tiny.base_clip()
    plain.config.vision_config.attention_dropout = 0.25
    plain.save_pretrained(tmp_path)
    settings = tiny.bottleneck_config()
    config = model_class.from_base(tmp_path, settings, layers=[2, 0]).config
    assert config.unlearning is None and config.bottleneck_layers == [0, 2]
    assert config.bottleneck.hidden_size == 16 and settings.hidden_size is None
    vision = getattr(config, "vision_config", config)
    assert vision.attention_dropout == 0.25
    if vision is not config:
        assert config.text_config.to_dict() == plain.config.text_config.to_dict() | {"dtype": "float32"}


@pytest.mark.parametrize("model_class", MODELS)
def test_what_is_no_plain_clip_is_refused(tmp_path, model_class):
    T5Config(**tiny.T5).save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match="'t5' model"):
        model_class.from_base(tmp_path / "t5")
    tiny.codebook_clip().save_pretrained(tmp_path / "ours")
    with pytest.raises(ValueError, match="from_pretrained"):
        model_class.from_base(tmp_path / "ours")


@pytest.mark.parametrize("model_class", MODELS)
def test_a_base_that_lacks_weights_is_refused(tmp_path, model_class):
    tiny.base_clip().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["vision_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of a CLIP"):
        model_class.from_base(tmp_path, tiny.bottleneck_config())


@pytest.mark.parametrize("layers", [[], [3], [-1], [1, 1]], ids=str)
def test_layers_that_there_are_not_are_refused(tmp_path, layers):
    tiny.base_clip().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="vision layers, from 0 to 2"):
        CodebookCLIPModel.from_base(tmp_path, tiny.bottleneck_config(), layers=layers)


def test_a_width_of_another_model_is_refused(tmp_path):
    tiny.base_clip().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`hidden_size` is 9, but the model's `hidden_size` is 16"):
        CodebookCLIPModel.from_base(tmp_path, tiny.bottleneck_config(hidden_size=9))
