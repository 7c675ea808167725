import numpy as np
import pytest
import torch

from excise import CodebookCLIPForImageClassification, Unlearner
from excise.cli.inspect import contact_sheet
from excise.codes import code_images, image_meanings, token_meanings
from excise.codes.selection import Selection
from excise.data.inputs import Images
from excise.models.activations import bottleneck_inputs
from tests.helpers import tiny, tiny_images

CLIP_SITE = "vision_model.encoder.layers.2"


@pytest.fixture
def key_value():
    return Unlearner(tiny_images.key_value_model().eval(), tiny_images.processor())


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return Unlearner(tiny.codebook_clip(CodebookCLIPForImageClassification), tiny.image_processor())


def selected(unlearner, dataset):
    """The codes that each image selects, one image at a time."""
    inputs = Images(dataset, unlearner.processor)
    (site,) = unlearner.sites
    bottleneck, found = unlearner.sites[site], []
    for row in range(len(dataset)):
        arrived = bottleneck_inputs(unlearner.model, inputs.batch([row]))[site]
        codes = bottleneck.selected(arrived)[0]
        found.append(set(codes.flatten().tolist()))
    return found


@pytest.mark.parametrize("kind", ["key_value", "clip"])
def test_an_image_is_found_if_and_only_if_it_selects_the_code_even_a_masked_one(kind, request):
    unlearner = request.getfixturevalue(kind)
    dataset = tiny_images.images(24) if kind == "key_value" else tiny.images(24)
    (site,) = unlearner.sites
    expected = selected(unlearner, dataset)
    code = max(set.union(*expected), key=lambda code: (0 < sum(code in found for found in expected) < 24, code))
    rows = [row for row, found in enumerate(expected) if code in found]
    unlearner.mask(Selection({site: [code]}), "a topic")
    for batch_size in (1, 5, 24):
        found = code_images(unlearner, dataset, site, code, count=100, batch_size=batch_size, progress=False)
        assert found["state"] == "masked"
        assert (found["selected"], found["images"]) == (len(rows), 24)
        assert sorted(hit["row"] for hit in found["hits"]) == rows
        similarities = [hit["similarity"] for hit in found["hits"]]
        assert similarities == sorted(similarities, reverse=True)
    label = "label"
    names = dataset.features[label].int2str([dataset[label][row] for row in rows])
    assert found["labels"] == {name: names.count(name) for name in found["labels"]}
    assert sum(found["labels"].values()) == len(rows)
    assert not unlearner.sites[site].live[code]


def test_the_images_of_a_code_are_those_in_which_it_fits_best(key_value):
    dataset = tiny_images.images(24)
    (site,) = key_value.sites
    expected = selected(key_value, dataset)
    codes = sorted(set.union(*expected))[:3]
    found = image_meanings(key_value, dataset, {site: codes}, count=2, progress=False)
    assert list(found) == [(site, code) for code in codes]
    for code in codes:
        hits = code_images(key_value, dataset, site, code, count=2, progress=False)["hits"]
        pictures = [dataset[hit["row"]]["img"] for hit in hits]
        assert len(found[site, code]) == len(pictures) > 0
        for one, other in zip(found[site, code], pictures, strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other.convert("RGB")))


def test_images_without_labels_are_found_too(key_value):
    dataset = tiny_images.images(8).remove_columns("label")
    (site,) = key_value.sites
    code = min(set.union(*selected(key_value, dataset)))
    found = code_images(key_value, dataset, site, code, progress=False)
    assert found["labels"] == {} and {hit["label"] for hit in found["hits"]} == {None}


def test_codes_that_there_are_not_and_models_of_the_other_kind_are_refused(key_value, clip, make_model, tokenizer):
    images = tiny_images.images(4)
    (site,) = key_value.sites
    with pytest.raises(ValueError, match="There is no code bottleneck:384"):
        code_images(key_value, images, site, 384, progress=False)
    with pytest.raises(ValueError, match="There is no code other:0"):
        image_meanings(key_value, images, {"other": [0]}, progress=False)
    with pytest.raises(ValueError, match="takes texts"):
        code_images(Unlearner(make_model(), tokenizer), images, "encoder.block.1", 0, progress=False)
    with pytest.raises(ValueError, match="has no tokenizer"):
        token_meanings(clip, ["a text"], progress=False)
    with pytest.raises(ValueError, match="has no tokenizer"):
        token_meanings(key_value, ["a text"], progress=False)


def test_a_sheet_has_a_place_for_each_image_in_rows_of_five():
    images = [image.convert("RGB") for image in tiny_images.images(7)["img"][:]]
    sheet = np.asarray(contact_sheet(images, [f"image {i}" for i in range(7)]))
    assert sheet.shape == (8 + 2 * 152, 8 + 5 * 136, 3)
    for i, image in enumerate(images):
        left, top = 8 + i % 5 * 136, 8 + i // 5 * 152
        assert np.array_equal(sheet[top + 64, left + 64], np.asarray(image)[16, 16])
    with pytest.raises(ValueError, match="no image"):
        contact_sheet([], [])
