import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset, Features, Image, Value, concatenate_datasets
from transformers import CLIPImageProcessorPil

from excise.data.images import image_column, rgb_images
from excise.data.inputs import Images

PROCESSOR = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})


def images(count, channels=3):
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8).squeeze(-1 if channels == 1 else ())
    return Dataset.from_dict({"img": list(arrays)}, features=Features({"img": Image()}))


def test_batches_are_what_the_processor_makes_of_all_images_at_once():
    dataset = images(5)
    batches = list(Images(dataset, PROCESSOR).batches(2))
    assert [list(rows) for rows, _ in batches] == [[0, 1], [2, 3], [4]]
    whole = PROCESSOR(dataset["img"][:], return_tensors="pt")["pixel_values"]
    assert torch.equal(torch.cat([batch["pixel_values"] for _, batch in batches]), whole)


def test_a_greyscale_image_is_taken_as_the_rgb_image_that_looks_like_it():
    grey = images(3, channels=1)
    colour = grey.map(lambda row: {"img": row["img"].convert("RGB")})
    ((_, found),), ((_, expected),) = Images(grey, PROCESSOR).batches(3), Images(colour, PROCESSOR).batches(3)
    assert found["pixel_values"].shape == (3, 3, 8, 8)
    assert torch.equal(found["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize("broken", [b"no image at all", None])
def test_an_image_that_cannot_be_read_is_named(broken):
    raw = images(4).cast_column("img", Image(decode=False)).to_list()
    raw[2] = {"img": {"bytes": broken, "path": None} if broken else None}
    dataset = Dataset.from_list(raw, features=Features({"img": Image()}))
    with pytest.raises(ValueError, match=r"row 2|Row 2"):
        list(Images(dataset, PROCESSOR).batches(4))


def test_the_image_column_is_found_or_asked_for():
    dataset = images(2)
    assert image_column(dataset) == "img"
    with pytest.raises(ValueError, match="no image column 'photo'"):
        image_column(dataset, "photo")
    with pytest.raises(ValueError, match="0 image columns"):
        image_column(Dataset.from_dict({"x": [1]}, features=Features({"x": Value("int64")})))
    with pytest.raises(ValueError, match="2 image columns"):
        image_column(concatenate_datasets([dataset, dataset.rename_column("img", "other")], axis=1))
    with pytest.raises(ValueError, match="empty"):
        image_column(dataset.select([]))


def test_greys_of_16_bits_keep_their_shades():
    ramp = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    dataset = Dataset.from_dict({"img": [PIL.Image.fromarray(ramp)]}, features=Features({"img": Image()}))
    (found,) = rgb_images(dataset, [0])
    assert found.mode == "RGB"
    np.testing.assert_allclose(np.asarray(found)[..., 1], ramp / 257, atol=1)


def test_images_of_floating_point_numbers_are_refused():
    picture = PIL.Image.fromarray(np.ones((8, 8), np.float32))
    dataset = Dataset.from_dict({"img": [picture]}, features=Features({"img": Image()}))
    with pytest.raises(ValueError, match="row 0 is of floating-point numbers"):
        rgb_images(dataset, [0])
