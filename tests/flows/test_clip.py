"""What is done with texts is done with images alike: codes from data, counts, masks, saving."""

import pytest
import torch

from excise import (
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    Selection,
    Unlearner,
    initialize_codes,
    set_min_similarity,
)
from excise.bottlenecks.site import bottlenecks
from excise.codes.counting import count_apart, count_codes, count_pairs
from excise.models.activations import bottleneck_inputs
from excise.models.loading import load_model, load_processor
from tests.helpers import tiny

MODELS = [CodebookCLIPModel, CodebookCLIPVisionModel, CodebookCLIPForImageClassification]
SITE = "encoder.layers.2"
POSITIONS = 5  # the class token and four patches


@pytest.mark.parametrize("model_class", MODELS)
def test_nothing_after_the_last_bottleneck_runs(model_class):
    model, ran = tiny.codebook_clip(model_class, layers=(0, 1)), []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: ran.append(name))
    found = bottleneck_inputs(model, {"pixel_values": tiny.pixels()})
    assert list(found) == ["encoder.layers.0", "encoder.layers.1"]
    assert found["encoder.layers.1"].shape == (3, POSITIONS, 16)
    assert any("layers.0.bottleneck" in name for name in ran)
    assert not any("layers.1.bottleneck" in name or "layers.2" in name or "text" in name for name in ran)


@pytest.mark.parametrize("model_class", MODELS)
def test_codes_start_from_images_and_a_quantile_of_positions_falls_silent(model_class):
    model, images = tiny.codebook_clip(model_class, layers=(0, 2)), tiny.images(60)
    options = {"progress": False}
    errors = initialize_codes(model, images, tiny.image_processor(), steps=30, max_tokens=250, **options)
    assert list(errors) == ["encoder.layers.0", SITE]
    assert all(0 < error < 1 for error in errors.values())  # less than the variance
    least = set_min_similarity(model, images, tiny.clip_processor(), quantile=0.2, **options)
    assert least[SITE] == bottlenecks(model)[SITE].min_similarity.item()
    pixels = tiny.image_processor()(images["image"][:], return_tensors="pt")["pixel_values"]
    module = bottlenecks(model)[SITE]
    codes = module.selected(bottleneck_inputs(model, {"pixel_values": pixels})[SITE])[0].unflatten(
        1, (-1, module.top_s)
    )
    assert (codes < 0).all(-1).float().mean() == pytest.approx(0.2, abs=0.02)


def test_counts_are_those_of_looking_up_every_position_alone():
    model, images = tiny.codebook_clip(), tiny.images(7)
    usage = count_codes(model, tiny.image_processor(), images, max_top_s=6, batch_size=3, progress=False)[SITE]
    module, expected = bottlenecks(model)[SITE], torch.zeros(40, dtype=torch.int64)
    for image in images["image"][:]:
        pixels = tiny.image_processor()(image, return_tensors="pt")["pixel_values"]
        hidden = bottleneck_inputs(model, {"pixel_values": pixels})[SITE]
        expected[module.most_similar(hidden, 4)[0].unique()] += 1
    assert torch.equal(usage.example_counts(4), expected)
    assert usage.num_examples == 7


def test_images_are_counted_in_pairs_or_apart():
    model, one, other = tiny.codebook_clip(), tiny.images(6), tiny.images(6, seed=1)
    options = {"max_top_s": 6, "progress": False}
    pairs = count_pairs(model, tiny.image_processor(), one, other, positions="all", **options)[SITE]
    apart = count_apart(model, tiny.image_processor(), one, other, **options)[SITE]
    assert torch.equal(pairs.target.examples, apart.target.examples)
    assert torch.equal(pairs.control.examples, apart.control.examples)
    assert pairs.both is not None and apart.both is None
    with pytest.raises(ValueError, match="positions="):
        count_pairs(model, tiny.image_processor(), one, other, **options)


@pytest.mark.parametrize("processor", [tiny.image_processor, tiny.clip_processor], ids=["images", "both"])
@pytest.mark.parametrize("model_class", MODELS)
def test_an_unlearner_goes_on_from_a_folder_with_the_same_classes(model_class, processor, tmp_path):
    first = Unlearner(tiny.codebook_clip(model_class), processor())
    first.mask(Selection({SITE: [0, 3]}, {"q": 0.05}), "red")
    first.delete(Selection({SITE: [5]}), "green")
    first.save_pretrained(tmp_path / "out")
    second = Unlearner.from_pretrained(tmp_path / "out")
    assert type(second.model) is model_class and type(second.processor) is type(first.processor)
    assert second.ledger == first.ledger
    second.undo(1)
    assert (~bottlenecks(second.model)[SITE].live).nonzero().flatten().tolist() == [5]


def test_a_t5_loads_as_what_it_was_saved_as(tmp_path):
    tiny.codebook_t5().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    assert type(load_model(tmp_path)) is type(tiny.codebook_t5())
    assert load_processor(tmp_path)("the cat")["input_ids"] == tiny.tokenizer()("the cat")["input_ids"]


def test_a_plain_model_loads_and_is_refused_for_having_no_bottleneck(tmp_path):
    tiny.base_clip().save_pretrained(tmp_path)
    tiny.clip_processor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="CLIPModel has no bottleneck"):
        Unlearner.from_pretrained(tmp_path)


def test_the_class_token_is_counted_alone():
    model, images = tiny.codebook_clip(), tiny.images(5)
    options = {"max_top_s": 6, "batch_size": 2, "progress": False}
    usage = count_codes(model, tiny.image_processor(), images, positions="class_token", **options)[SITE]
    module, expected = bottlenecks(model)[SITE], torch.zeros(40, dtype=torch.int64)
    for image in images["image"][:]:
        pixels = tiny.image_processor()(image, return_tensors="pt")["pixel_values"]
        first = bottleneck_inputs(model, {"pixel_values": pixels})[SITE][:, 0]
        expected[module.most_similar(first, 4)[0].flatten()] += 1
    assert torch.equal(usage.example_counts(4), expected)
    assert usage.num_examples == 5
