import copy
import shutil

import pytest
import torch
from datasets import Value, concatenate_datasets

import excise.models.key_value.encodings
from excise import encode_images, select_pairs
from excise.data.images import pixel_values
from tests.helpers.tiny_images import images, key_value_model, processor


@pytest.fixture
def calls(monkeypatch):
    """Counts the images that are read to be encoded."""
    seen = []

    def counted(dataset, processor, rows, image=None):
        seen.extend(rows)
        return pixel_values(dataset, processor, rows, image)

    monkeypatch.setattr(excise.models.key_value.encodings, "pixel_values", counted)
    return seen


def encoded(model, dataset, folder, **options):
    return encode_images(model, dataset, processor(), cache_dir=folder, progress=False, **options)


def test_encodings_and_labels_are_the_models_own_in_the_given_order(tmp_path):
    model, dataset = key_value_model(), images(11)
    found = encoded(model, dataset, tmp_path, batch_size=3, shard_size=4).with_format("torch")
    pixels = processor()(dataset["img"][:], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found["encodings"][:], model.encode(pixels))
    assert found["labels"][:].tolist() == dataset["label"][:]


def test_a_second_call_reads_what_the_first_has_kept(tmp_path, calls):
    first = encoded(key_value_model(), images(8), tmp_path)
    again = encoded(key_value_model(), images(8), tmp_path)
    assert calls == list(range(8))
    assert first._fingerprint == again._fingerprint


@pytest.mark.parametrize("changed", ["encoder", "processor", "images", "order", "labels", "pooling", "activation"])
def test_whatever_an_encoding_depends_on_makes_a_change_of_it_new_encodings(tmp_path, calls, changed):
    model, dataset, how = key_value_model(), images(8), processor()
    encoded(model, dataset, tmp_path)
    if changed == "encoder":
        model.encoder.embedder.embedder.convolution.weight.data[0] += 0.5
    elif changed == "processor":
        how.image_mean = [0.1, 0.2, 0.3]
    elif changed == "images":
        dataset = concatenate_datasets([dataset.select(range(7)), images(8, seed=1).select([7])])
    elif changed == "order":
        dataset = dataset.select(range(7, -1, -1))
    elif changed == "labels":
        dataset = dataset.map(lambda row: {"label": 3 - row["label"]})
    elif changed == "activation":
        model.config.encoder = copy.deepcopy(model.config.encoder)
        model.config.encoder.hidden_act = "gelu"
    else:
        model.config.pooling = "mean"
    encode_images(model, dataset, how, cache_dir=tmp_path, progress=False)
    assert len(calls) == 16


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path, monkeypatch, calls):
    model, dataset = key_value_model(), images(12)
    encode = type(model).encode

    def killed(self, pixel_values):
        if len(calls) > 8:
            raise KeyboardInterrupt
        return encode(self, pixel_values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(model), "encode", killed)
        encoded(model, dataset, tmp_path, batch_size=2, shard_size=4)
    del calls[:]
    found = encoded(model, dataset, tmp_path, batch_size=2, shard_size=4).with_format("torch")
    assert calls == [8, 9, 10, 11]
    whole = encoded(model, dataset, tmp_path / "whole").with_format("torch")
    torch.testing.assert_close(found["encodings"][:], whole["encodings"][:])


def test_a_file_that_is_not_what_was_written_is_refused(tmp_path):
    model = key_value_model()
    encoded(model, images(8), tmp_path, shard_size=4)
    encoded(model, images(3, seed=2), tmp_path / "other")
    (short,) = (tmp_path / "other").rglob("*.arrow")
    *_, last = sorted(tmp_path.glob("encodings-*/*.arrow"))
    shutil.copy(short, last)
    with pytest.raises(ValueError, match=r"holds 3 rows.*not the 4.*Remove this file"):
        encoded(model, images(8), tmp_path, shard_size=4)


def test_labels_that_are_no_classes_of_the_model_and_encodings_that_are_not_finite_are_refused(tmp_path):
    model, dataset = key_value_model(), images(8).cast_column("label", Value("int64"))
    with pytest.raises(ValueError, match=r"from 0 to 9; .*classes 0 to 3"):
        encoded(model, dataset.map(lambda row: {"label": row["label"] * 3}), tmp_path, label="label")
    model.encoder.embedder.embedder.convolution.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="rows 0 to 7 are not finite"):
        encoded(model, dataset, tmp_path)
    assert not list(tmp_path.rglob("*.arrow"))


def test_pairs_are_those_that_the_model_selects_and_are_kept_until_keys_or_mask_change(tmp_path):
    model, dataset = key_value_model(), images(8)
    encodings = encoded(model, dataset, tmp_path)
    pairs = select_pairs(model, encodings, cache_dir=tmp_path, progress=False)
    vectors = encodings.with_format("torch")["encodings"][:]
    assert torch.equal(pairs.with_format("torch")["pairs"][:].long(), model(encodings=vectors).pairs)
    assert pairs["labels"][:] == dataset["label"][:]
    files = len(list(tmp_path.rglob("*.arrow")))
    select_pairs(model, encodings, cache_dir=tmp_path, progress=False)
    assert len(list(tmp_path.rglob("*.arrow"))) == files
    model.bottleneck.values.data += 1  # values do not matter
    select_pairs(model, encodings, cache_dir=tmp_path, progress=False)
    assert len(list(tmp_path.rglob("*.arrow"))) == files
    model.bottleneck.live[pairs[0]["pairs"][0]] = False
    again = select_pairs(model, encodings, cache_dir=tmp_path, progress=False)
    assert again[0]["pairs"][0] != pairs[0]["pairs"][0]


def test_encodings_of_another_encoder_and_other_data_sets_are_refused(tmp_path):
    encodings = encoded(key_value_model(), images(8), tmp_path)
    with pytest.raises(ValueError, match="another encoder"):
        select_pairs(key_value_model(seed=1), encodings)
    with pytest.raises(ValueError, match="Expected what `encode_images` returns"):
        select_pairs(key_value_model(), images(8))
    assert len(select_pairs(key_value_model(), encodings.select([3, 1]), cache_dir=tmp_path, progress=False)) == 2


def test_another_size_of_files_makes_files_of_its_own_and_a_broken_one_is_named(tmp_path, calls):
    model, dataset = key_value_model(), images(8)
    first = encoded(model, dataset, tmp_path, shard_size=4)["encodings"][:]
    again = encoded(model, dataset, tmp_path, shard_size=3)["encodings"][:]
    assert first == again and len(calls) == 16
    encoded(model, dataset, tmp_path, shard_size=4)
    assert len(calls) == 16
    broken = sorted(tmp_path.glob("encodings-*/*-000000004.arrow"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{broken.name} cannot be read .*Remove this file"):
        encoded(model, dataset, tmp_path, shard_size=4)
    broken.unlink()
    assert encoded(model, dataset, tmp_path, shard_size=4)["encodings"][:] == first


@pytest.mark.parametrize("how", ["torch", "numpy", "transform"])
def test_the_format_of_a_data_set_does_not_matter(tmp_path, how):
    model, dataset = key_value_model(), images(8)
    formatted = dataset.with_transform(lambda rows: {}) if how == "transform" else dataset.with_format(how)
    expected = encoded(model, dataset, tmp_path)
    assert encoded(model, formatted, tmp_path)["labels"][:] == expected["labels"][:]


def test_names_that_are_no_classes_of_the_model_are_refused(tmp_path):
    named = images(8).map(lambda row: {"name": f"kind {row['label']}"})
    with pytest.raises(ValueError, match=r"no class 'kind 0', .*its classes are red, green, blue, grey"):
        encoded(key_value_model(), named, tmp_path, label="name")


def test_another_type_to_compute_in_makes_encodings_of_its_own_that_are_near(tmp_path, calls):
    model, dataset = key_value_model(), images(8)
    exact = encoded(model, dataset, tmp_path).with_format("torch")["encodings"][:]
    near = encoded(model, dataset, tmp_path, dtype=torch.bfloat16).with_format("torch")["encodings"][:]
    assert calls == [*range(8), *range(8)]
    assert not torch.equal(exact, near)
    torch.testing.assert_close(near, exact, rtol=0.05, atol=0.05)
