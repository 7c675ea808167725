"""CLIP's models with bottlenecks pass the contract, and what is CLIP's own."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    CLIPModel,
)

from excise import (
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    MaskMismatchError,
    Unlearner,
)
from excise.bottlenecks import trace
from excise.bottlenecks.site import bottlenecks
from tests.helpers import tiny
from tests.helpers.model_contract import CodebookContract, CompiledInTheSlowSuite, ModelContract, masks

SITE = "encoder.layers.2"


# What accelerate says of a parameter that is in no submodule, as CLIP's `logit_scale`, though it wants it named.
@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules")
class CLIPParts:
    """What the contract asks of the models below alike."""

    def make(self, **settings):
        return tiny.codebook_clip(self.model_class, layers=(1, 2), **settings)

    def ledger_holder(self, config):
        return config["vision_config"]

    def add_a_code(self, config):
        config["vision_config"]["bottleneck"]["num_codes"] += 1

    def disk_map(self):
        beside = [name for name in self.make().state_dict() if not name.startswith("vision_model.")]
        return dict.fromkeys(beside, "cpu") | {f"vision_model.{key}": value for key, value in TOWER.items()}


TOWER = dict.fromkeys(("embeddings", "pre_layrnorm", "post_layernorm", "encoder.layers.0"), "cpu") | dict.fromkeys(
    ("encoder.layers.1", "encoder.layers.2"), "disk"
)


class TestCodebookCLIP(CompiledInTheSlowSuite, CLIPParts, CodebookContract):
    model_class = CodebookCLIPModel
    auto_class = AutoModelForZeroShotImageClassification
    result = "logits_per_image"
    exported = False

    def batch(self):
        return tiny.pairs()

    def without_loss(self):
        return tiny.pairs() | {"return_loss": None}


class TestCodebookCLIPForImageClassification(CompiledInTheSlowSuite, CLIPParts, CodebookContract):
    model_class = CodebookCLIPForImageClassification
    auto_class = AutoModelForImageClassification
    unused = ("post_layernorm",)  # the classifier reads the mean of the patches, as in plain CLIP

    def batch(self):
        return {"pixel_values": tiny.pixels(), "labels": torch.tensor([0, 2, 1])}


class TestCodebookCLIPVision(CompiledInTheSlowSuite, CLIPParts, ModelContract):
    model_class = CodebookCLIPVisionModel
    auto_class = AutoModel
    result = "pooler_output"
    exported = False

    def batch(self):
        return {"pixel_values": tiny.pixels()}

    def loss(self, output):
        return output.pooler_output.float().square().mean()

    def ledger_holder(self, config):
        return config

    def add_a_code(self, config):
        config["bottleneck"]["num_codes"] += 1

    def disk_map(self):
        return TOWER

    def trainer_options(self):
        return {"compute_loss_func": lambda output, labels, num_items_in_batch: self.loss(output)}


def test_the_mask_and_ledger_travel_with_the_vision_tower(tmp_path):
    model = tiny.codebook_clip()
    tiny.mask_codes(model, [0, 3], SITE)
    tiny.delete_codes(model, [5], SITE)
    model.save_pretrained(tmp_path / "whole")
    tower = CodebookCLIPVisionModel.from_pretrained(tmp_path / "whole")
    model.vision_model.save_pretrained(tmp_path / "tower")
    classifier = CodebookCLIPForImageClassification.from_pretrained(tmp_path / "whole")
    assert all(name.startswith("excise.") for name in load_file(tmp_path / "tower" / "model.safetensors"))
    for other in (tower, AutoModel.from_pretrained(tmp_path / "tower"), classifier):
        assert torch.equal(masks(other)[SITE], masks(model)[SITE])
        assert Unlearner(other, None).ledger == Unlearner(model, None).ledger
    hidden = model.vision_model(tiny.pixels()).last_hidden_state
    torch.testing.assert_close(tower(tiny.pixels()).last_hidden_state, hidden)


def test_a_tower_from_a_checkpoint_whose_mask_was_changed_does_not_load(tmp_path):
    model = tiny.codebook_clip()
    tiny.mask_codes(model, [0, 3], SITE)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    next(tensor for name, tensor in weights.items() if name.endswith("bottleneck.live")).fill_(True)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MaskMismatchError):
        CodebookCLIPVisionModel.from_pretrained(tmp_path)


def test_every_position_is_coded_whatever_the_padding_of_the_text_is():
    model, pairs = tiny.codebook_clip(), tiny.pairs()
    output = model(**pairs)
    assert output.codes[SITE].shape == (3, 5, 3)  # the class token and four patches
    assert (output.codes[SITE] >= 0).all()
    with trace(pairs["attention_mask"]):  # a mask of five and more tokens, which is another number of positions
        features = model.get_image_features(pairs["pixel_values"]).pooler_output
    torch.testing.assert_close(features, model.get_image_features(pairs["pixel_values"]).pooler_output)


def test_the_class_token_goes_through_the_bottleneck():
    model = tiny.codebook_clip()
    codes = model(**tiny.pairs()).codes[SITE][:, 0]
    before = model.vision_model(tiny.pixels()).pooler_output
    tiny.mask_codes(model, codes.unique().tolist(), SITE)
    assert not torch.isclose(model.vision_model(tiny.pixels()).pooler_output, before).all(1).any()


def test_a_trace_sees_the_vision_tower_where_the_model_has_no_trace_of_its_own():
    model = tiny.codebook_clip(layers=(0, 2))
    with trace() as traced:
        model.get_image_features(tiny.pixels())
    assert list(traced.outputs) == ["encoder.layers.0", SITE]
    assert torch.equal(traced.outputs[SITE].codes, model(**tiny.pairs()).codes[SITE])


def test_the_text_tower_says_what_it_says_in_plain_clip(tmp_path):
    plain = tiny.base_clip()
    plain.save_pretrained(tmp_path)
    model = CodebookCLIPModel.from_base(tmp_path, tiny.bottleneck_config())
    texts = {key: value for key, value in tiny.pairs().items() if key in ("input_ids", "attention_mask")}
    torch.testing.assert_close(
        model.get_text_features(**texts).pooler_output, plain.get_text_features(**texts).pooler_output
    )


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    model = tiny.codebook_clip(CodebookCLIPForImageClassification)
    labels = torch.tensor([0, 2, 1])
    parts = copy.deepcopy(model)
    model(tiny.pixels(), labels=labels).loss.backward()
    for part in (slice(0, 1), slice(1, 3)):
        parts(tiny.pixels()[part], labels=labels[part], num_items_in_batch=3).loss.backward()
    expected = dict(model.named_parameters())
    for name, parameter in parts.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name].grad, msg=name)


def test_an_image_without_a_label_counts_in_no_loss():
    model = tiny.codebook_clip(CodebookCLIPForImageClassification)
    output = model(tiny.pixels(), labels=torch.tensor([0, -100, 1]))
    expected = model(tiny.pixels()[[0, 2]], labels=torch.tensor([0, 1]))
    for name in ("loss", "task_loss", "reconstruction_loss", "l1_loss"):
        torch.testing.assert_close(output[name], expected[name])


def test_several_labels_an_image_are_weighed_alike():
    model = tiny.codebook_clip(CodebookCLIPForImageClassification)
    labels = torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 0, 0]])
    output = model(tiny.pixels(), labels=labels)
    torch.testing.assert_close(
        output.task_loss, torch.nn.functional.binary_cross_entropy_with_logits(output.logits, labels)
    )
    assert output.loss > output.task_loss


def test_a_model_that_holds_no_bottleneck_is_told_where_to_get_one():
    with pytest.raises(ValueError, match="CLIPModel has no bottleneck"):
        bottlenecks(CLIPModel(tiny.base_clip().config))
