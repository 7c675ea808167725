"""Pictures that people bring: each is read as what a person sees, or refused by what is wrong with it."""

import io

import numpy as np
import PIL.Image
import pytest
from datasets import Array3D, ClassLabel, Dataset, Features, Image, List, Value

from excise import class_sets, encode_images
from excise.data import to_rgb
from excise.data.images import rgb_images
from tests.helpers.tiny_images import images, key_value_model, processor

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def saved(picture: PIL.Image.Image, kind: str, **options) -> dict:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return {"bytes": file.getvalue(), "path": None}


def of_greys(top: float, dtype, kind="TIFF", **options) -> dict:
    """A ramp from 0 to a value, in a picture of a type of numbers."""
    return saved(PIL.Image.fromarray((RAMP * top).astype(dtype)), kind, **options)


def dataset_of(*stored, **options) -> Dataset:
    return Dataset.from_dict({"img": list(stored)}, features=Features({"img": Image(**options)}))


def coloured(mode: str) -> PIL.Image.Image:
    grey = PIL.Image.fromarray((RAMP * 255).astype(np.uint8))
    return grey.convert(mode)


def with_alpha(colour, alpha) -> PIL.Image.Image:
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[..., :3], picture[..., 3] = colour, alpha
    return PIL.Image.fromarray(picture)


def turned() -> dict:
    """A ramp that lies on its side, and says so."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 8  # to be turned by 90 degrees
    lying = PIL.Image.fromarray(np.rot90((RAMP * 255).astype(np.uint8), -1))
    return saved(lying.convert("RGB"), "PNG", exif=exif)


def animated() -> dict:
    frames = [coloured("L"), PIL.Image.new("L", (8, 8))]
    return saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


READ = {
    "16 bits, all in use": (of_greys(65_535, np.uint16, "PNG"), None),
    "16 bits in a TIFF": (of_greys(65_535, np.uint16), None),
    "12 bits in 16, asked for": (of_greys(4_095, np.uint16, "PNG"), (0, 4_095)),
    "12 bits in 16, told by the file": (of_greys(4_095, np.uint16, tiffinfo={281: 4_095}), None),
    "10 bits in 16": (of_greys(1_023, np.uint16, "PNG"), (0, 1_023)),
    "0 to 255 in 32 bits": (of_greys(255, np.int32), (0, 255)),
    "0 to 255 with a point": (of_greys(255, np.float32), (0, 255)),
    "0 to 1 with a point": (of_greys(1, np.float32), (0, 1)),
    "0 to 16 in 8 bits, as scikit-learn's digits": (of_greys(16, np.uint8, "PNG"), (0, 16)),
    "a thermal camera, from 20 degrees on": (saved(PIL.Image.fromarray((20 + RAMP).astype("f4")), "TIFF"), (20, 21)),
    "Hounsfield units": (saved(PIL.Image.fromarray((RAMP * 2_000 - 1_000).astype("i4")), "TIFF"), (-1_000, 1_000)),
    "grey": (saved(coloured("L"), "PNG"), None),
    "grey with transparency": (saved(coloured("LA"), "PNG"), None),
    "a palette": (saved(coloured("P"), "PNG"), None),
    "ink colours": (saved(coloured("CMYK"), "TIFF"), None),
    "YCbCr": (saved(coloured("YCbCr"), "TIFF"), None),
    "colours and no transparency": (saved(coloured("RGBA"), "PNG"), None),
    "a photograph on its side": (turned(), None),
    "an animation: its first frame": (animated(), None),
}


@pytest.mark.parametrize(("stored", "value_range"), READ.values(), ids=READ)
def test_a_ramp_from_black_to_white_is_read_as_one(stored, value_range):
    dataset = dataset_of(stored)
    found = [rgb_images(dataset, [0], value_range=value_range), to_rgb(dataset, value_range)["img"][:]]
    for (picture,) in found:
        assert picture.mode == "RGB"
        levels = RAMP if value_range != (0, 16) else np.floor(RAMP * 16) / 16
        np.testing.assert_allclose(np.asarray(picture)[..., 1] / 255, levels, atol=0.01)


def test_one_bit_is_black_and_white():
    (picture,) = rgb_images(dataset_of(saved(PIL.Image.fromarray(RAMP > 0.5), "PNG")), [0])
    assert np.array_equal(np.asarray(picture)[..., 0], 255 * (RAMP > 0.5))


REFUSED = {
    "12 bits in 16": (of_greys(4_095, np.uint16, "PNG"), r"from 0 to 4095.*value_range=\(0, 4095\)"),
    "a dark data set of 16 bits": (of_greys(9_000, np.uint16, "PNG"), r"from 0 to 9000.*value_range=\(0, 16383\)"),
    "0 to 255 in 32 bits": (of_greys(255, np.int32), r"from 0 to 255.*value_range=\(0, 255\)"),
    "whole numbers beyond 16 bits": (of_greys(1e6, np.int32), r"from 0 to 1e\+06.*value_range"),
    "below nothing": (saved(PIL.Image.fromarray(np.full((8, 8), -5, "i4")), "TIFF"), r"go from -5 to -5"),
    "0 to 1 with a point": (of_greys(1, np.float32), r"row 0 is of floating-point numbers.*value_range=\(0, 1\)"),
    "0 to 255 with a point": (of_greys(255, np.float32), r"floating-point numbers.*value_range=\(0, 255\)"),
    "a sign in its transparency alone": (
        saved(with_alpha(0, (RAMP * 255).astype(np.uint8)), "PNG"),
        "row 0 is of one colour, and what is to be seen is in its transparency",
    ),
}


@pytest.mark.parametrize(("stored", "message"), REFUSED.values(), ids=REFUSED)
def test_a_picture_whose_black_and_white_are_not_known_is_refused_by_name(stored, message):
    with pytest.raises(ValueError, match=message):
        rgb_images(dataset_of(stored), [0])


def test_the_range_of_16_bits_is_that_of_the_whole_data_set():
    dataset = dataset_of(of_greys(300, np.uint16, "PNG"), of_greys(65_535, np.uint16, "PNG"))
    (dark,) = rgb_images(dataset, [0])
    assert np.asarray(dark).max() == 1
    with pytest.raises(ValueError, match="from 0 to 300"):
        rgb_images(dataset.select([0]), [0])


def test_values_out_of_a_range_that_was_given_are_refused():
    with pytest.raises(ValueError, match="row 1 has values from 0 to 4095, out of the range of 0 to 1023"):
        to_rgb(dataset_of(of_greys(1_023, np.uint16, "PNG"), of_greys(4_095, np.uint16, "PNG")), (0, 1_023))
    with pytest.raises(ValueError, match="row 0 has values from nan"):
        to_rgb(dataset_of(saved(PIL.Image.fromarray(np.full((8, 8), np.nan, "f4")), "TIFF")), (0, 1))
    for wrong in ((1, 0), 255, "0-255", (0, np.inf), (0, 1, 2)):
        with pytest.raises(ValueError, match="expected the values of black and of white"):
            to_rgb(dataset_of(saved(coloured("L"), "PNG")), wrong)


def test_a_column_that_asks_for_a_mode_does_not_turn_16_bits_white():
    (picture,) = rgb_images(dataset_of(of_greys(65_535, np.uint16, "PNG"), mode="RGB"), [0])
    np.testing.assert_allclose(np.asarray(picture)[..., 1] / 255, RAMP, atol=0.01)
    red = saved(PIL.Image.new("RGB", (8, 8), "red"), "PNG")
    (grey,) = rgb_images(dataset_of(red, mode="L"), [0])
    assert len(set(np.asarray(grey)[0, 0])) == 1


def arrays(shape: str, dtype: str, scale: float):
    """Ramps of three channels, of which the second is all there is."""
    pixels = np.zeros((2, 8, 8, 3))
    pixels[..., 1] = RAMP * scale
    pixels = pixels if shape == "HWC" else pixels.transpose(0, 3, 1, 2)
    size = (8, 8, 3) if shape == "HWC" else (3, 8, 8)
    return list(pixels.astype(dtype)), Features({"pixels": Array3D(size, dtype), "label": ClassLabel(names=["a"])})


ARRAYS = {
    "height, width, channels": ("HWC", "uint8", 255, None),
    "channels, height, width": ("CHW", "uint8", 255, None),
    "0 to 1, as torchvision's ToTensor": ("CHW", "float32", 1, (0, 1)),
    "0 to 255 in 64 bits": ("HWC", "int64", 255, (0, 255)),
}


@pytest.mark.parametrize(("shape", "dtype", "scale", "value_range"), ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("nested", [False, True], ids=["arrays", "lists"])
def test_arrays_become_images(shape, dtype, scale, value_range, nested):
    pixels, features = arrays(shape, dtype, scale)
    if nested:
        features["pixels"] = List(List(List(Value(dtype))))
        pixels = [one.tolist() for one in pixels]
    dataset = Dataset.from_dict({"pixels": pixels, "label": [0, 0]}, features=features)
    with pytest.raises(ValueError, match=r"0 image columns; 'pixels' has arrays. `excise.data.to_rgb"):
        rgb_images(dataset, [0])
    made = to_rgb(dataset.with_format("torch"), value_range)
    assert made.column_names == ["pixels", "label"] and made["label"][:] == [0, 0]
    assert np.asarray(made[1]["pixels"])[..., 0].max() == 0
    np.testing.assert_allclose(np.asarray(made[1]["pixels"])[..., 1] / 255, RAMP, atol=0.01)
    if value_range:
        with pytest.raises(ValueError, match="range is not known"):
            to_rgb(dataset)


def test_an_array_that_may_be_either_way_round_is_refused():
    dataset = Dataset.from_dict(
        {"x": [np.zeros((3, 8, 3), np.uint8)]}, features=Features({"x": Array3D((3, 8, 3), "uint8")})
    )
    with pytest.raises(ValueError, match=r"row 0 has the shape \(3, 8, 3\), and either end may be the channels"):
        to_rgb(dataset)


def test_sets_and_encodings_take_the_range(tmp_path):
    eight = images(60)
    wide = eight.map(lambda row: {"img": PIL.Image.fromarray(np.asarray(row["img"])[..., 0].astype(np.uint16) * 4)})
    wide = wide.cast_column("img", Image())
    options = {"min_examples": 2, "max_examples": 6, "max_retain": 6}
    sets = class_sets(wide, "red", value_range=(0, 1_020), **options)
    assert {picture.mode for picture in sets.target["image"]} == {"RGB"}
    model = key_value_model()
    with pytest.raises(ValueError, match=r"row 0 .*value_range=\(0, 1023\)"):
        encode_images(model, wide, processor(), cache_dir=tmp_path, progress=False)
    found = encode_images(model, wide, processor(), cache_dir=tmp_path, progress=False, value_range=(0, 1_020))
    grey = eight.map(lambda row: {"img": PIL.Image.fromarray(np.asarray(row["img"])[..., 0]).convert("RGB")})
    same = encode_images(model, grey, processor(), cache_dir=tmp_path, progress=False)
    np.testing.assert_allclose(found["encodings"][:], same["encodings"][:], atol=1e-5)


def test_values_of_0_to_16_in_8_bits_are_told_and_their_range_taken(caplog, tmp_path):
    digits = images(60).map(lambda row: {"img": PIL.Image.fromarray(np.asarray(row["img"]) // 16)})
    digits = digits.cast_column("img", Image())
    options = {"min_examples": 2, "max_examples": 6, "max_retain": 6}
    class_sets(digits, "red", **options)
    encode_images(key_value_model(), digits, processor(), cache_dir=tmp_path, progress=False)
    assert caplog.text.count("give `value_range=(0, 15)`") == 2
    caplog.clear()
    sets = class_sets(digits, "red", value_range=(0, 15), **options)
    assert not caplog.text and np.asarray(sets.target[0]["image"]).max() > 200


def folder_of_images(folder, broken=b"", twice=False):
    """A folder with an image a file, in a folder for each class; one that is broken, or one that is in two classes."""
    rows = images(48)
    for number, row in enumerate(rows):
        path = folder / rows.features["label"].int2str(row["label"]) / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        row["img"].save(path)
    first = sorted((folder / "red").iterdir())[0]
    if broken:
        first.write_bytes(broken(first.read_bytes()))
    if twice:
        (folder / "blue" / "again.png").write_bytes(first.read_bytes())
    return first


BROKEN = {
    "no image at all": lambda content: b"<html>not found</html>",
    "cut off": lambda content: content[: len(content) // 2],
    "no more than a beginning": lambda content: content[:20],
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_image_is_named_by_its_file_before_any_model_runs(broken, tmp_path):
    file = folder_of_images(tmp_path / "images", broken)
    with pytest.raises(ValueError, match=rf"row \d+ \(the file .*red/{file.name}\) cannot be read"):
        class_sets(tmp_path / "images", "red", min_examples=2)
    with pytest.raises(ValueError, match=rf"row \d+ \(the file .*red/{file.name}\) cannot be read"):
        encode_images(key_value_model(), tmp_path / "images", processor(), cache_dir=tmp_path, progress=False)


@pytest.mark.parametrize("twice", [True, False], ids=["in two classes", "each in one class"])
def test_an_image_under_two_labels_is_told_with_both(twice, tmp_path, caplog):
    folder_of_images(tmp_path / "images", twice=twice)
    class_sets(tmp_path / "images", "green", min_examples=2)
    assert ("1 image(s) are there as 'blue' and as 'red', such as rows" in caplog.text) is twice
