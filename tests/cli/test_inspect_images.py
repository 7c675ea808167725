import PIL.Image
import pytest

from tests.helpers import tiny_images

SITE = "encoder.block.1"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A tiny key-value classifier and images on disk."""
    folder = tmp_path_factory.mktemp("classifier")
    tiny_images.key_value_model().eval().save_pretrained(folder / "model")
    tiny_images.processor().save_pretrained(folder / "model")
    tiny_images.images(24).to_parquet(folder / "images.parquet")
    return folder


def test_inspect_finds_the_images_that_select_a_code_and_draws_them(excise, classifier, tmp_path):
    model = tiny_images.key_value_model().eval()
    batch = tiny_images.image_batch(24)
    pairs = model(pixel_values=batch["pixel_values"]).pairs
    code = pairs.flatten().mode().values.item()
    rows = (pairs == code).any(1).nonzero().flatten().tolist()
    picture = tmp_path / "code.png"
    data = excise(
        "inspect", classifier / "model", "--code", f"bottleneck:{code}", "--dataset", classifier / "images.parquet",
        "--count", 3, "--out-image", picture,
    )  # fmt: skip
    assert (data["state"], data["images"], data["selected"]) == ("live", 24, len(rows))
    assert {hit["row"] for hit in data["hits"]} <= set(rows) and len(data["hits"]) == min(3, len(rows))
    names = [tiny_images.NAMES[batch["labels"][row]] for row in rows]
    assert data["labels"] == {name: names.count(name) for name in set(names)}
    with PIL.Image.open(picture) as sheet:
        assert sheet.size == (8 + 136 * min(3, len(rows)), 8 + 152)


def test_inspect_of_a_key_value_model_counts_its_pairs(excise, classifier):
    data = excise("inspect", classifier / "model")
    counts = {"num_codes": 384, "selected": 6, "live": 384, "masked": 0, "deleted": 0}
    assert data["sites"] == {"bottleneck": counts}


def test_pictures_of_texts_and_other_formats_are_refused(failing, saved, classifier, tmp_path):
    texts = ["inspect", saved / "model", "--code", f"{SITE}:3", "--dataset", "excise:demo"]
    assert "give --text" in failing(*texts, status=2)
    assert "this one takes texts" in failing(*texts, "--text", "en", "--out-image", tmp_path / "x.png", status=2)
    images = ["inspect", classifier / "model", "--code", "bottleneck:3", "--dataset", classifier / "images.parquet"]
    assert "ends in .png" in failing(*images, "--out-image", tmp_path / "x.gif", status=2)
    assert list(tmp_path.iterdir()) == []
