"""The sets of a class of images."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value, concatenate_datasets

from excise import ClassSets, TopicSets, class_sets
from excise.data.forget_sets import SET_NAMES
from excise.data.images import encoded_images
from tests.helpers import tiny

OPTIONS = {"min_examples": 4, "max_examples": 12, "max_retain": 20}


def make(rows=90, test=45, what="green", **options):
    test = None if test is None else tiny.images(test, seed=1)
    return class_sets(tiny.images(rows), what, test=test, **OPTIONS | options)


def encoded(dataset) -> set[bytes]:
    return set(encoded_images(dataset, "image"))


@pytest.mark.parametrize("test", [45, None], ids=["a test set", "held out"])
def test_target_and_heldout_are_of_the_class_and_the_others_are_not(test):
    sets = make(test=test)
    for name in SET_NAMES:
        of_class = {label == 1 for label in getattr(sets, name)["label"]}
        assert of_class == {name in ("target", "heldout")}, name
    assert (sets.name, sets.label, sets.classes) == ("green", 1, tiny.CLASSES)


@pytest.mark.parametrize("test", [45, None], ids=["a test set", "held out"])
def test_no_image_is_in_two_sets(test):
    sets = [encoded(getattr(make(test=test), name)) for name in SET_NAMES]
    assert len(set().union(*sets)) == sum(len(each) for each in sets)


def test_sets_have_the_sizes_asked_for_and_few_others_are_shared_out_evenly():
    assert make().sizes() == "target 12, control 20, retain 20, heldout 12, heldout_retain 20"
    assert make(rows=36).sizes() == "target 12, control 12, retain 12, heldout 12, heldout_retain 20"


def test_the_same_seed_draws_the_same_images_and_another_seed_others():
    assert make().digest() == make().digest() != make(seed=1).digest()


def test_a_class_goes_by_its_name_or_its_label():
    assert make(what=1).digest() == make(what="green").digest()


def test_images_of_the_test_set_that_are_in_the_data_set_are_dropped():
    train, test = tiny.images(90), tiny.images(45, seed=1)
    sets = class_sets(train, "red", test=concatenate_datasets([train.select(range(9)), test]), **OPTIONS)
    assert sets.counts["test images dropped (in the data set too)"] == 9
    assert not encoded(sets.heldout) & encoded(train)


def test_a_test_set_that_is_the_data_set_is_refused():
    with pytest.raises(ValueError, match="All 90 images of the test set are in the data set as well"):
        class_sets(tiny.images(90), "red", test=tiny.images(90).shuffle(seed=0), **OPTIONS)


def test_an_image_that_comes_twice_counts_once():
    twice = concatenate_datasets([tiny.images(90), tiny.images(90)])
    sets = class_sets(twice, "red", **OPTIONS)
    assert sets.counts["repeated"] == 90
    assert sets.digest() == class_sets(tiny.images(90), "red", **OPTIONS).digest()


def test_what_is_no_class_or_has_no_image_is_refused():
    for wrong in ("yellow", 3, -1, True):
        with pytest.raises(ValueError, match="there are 3, labels from 0: red, green, blue"):
            make(what=wrong)
    with pytest.raises(ValueError, match="None of the 30 images is of class 'blue'"):
        class_sets(tiny.images(45).filter(lambda row: row["label"] < 2), "blue", **OPTIONS)


def test_labels_out_of_range_are_refused():
    unlabelled = tiny.images(30).map(lambda row, i: {"label": -1 if i == 7 else row["label"]}, with_indices=True)
    with pytest.raises(ValueError, match="Row 7 has label -1, which is out of range: there are 3 classes"):
        class_sets(unlabelled, "red", **OPTIONS)


def test_too_few_images_and_an_empty_data_set_are_refused():
    with pytest.raises(ValueError, match="4 in heldout"):
        make(test=12, min_examples=5)
    with pytest.raises(ValueError, match="empty"):
        class_sets(tiny.images(3).select([]), "red")
    with pytest.raises(ValueError, match="max_retain must be at least 1"):
        make(max_retain=0)


def test_columns_are_found_or_asked_for():
    train = tiny.images(90).rename_columns({"image": "img", "label": "fine"})
    train = train.add_column("coarse", [0] * 90).cast_column("coarse", ClassLabel(names=["all"]))
    with pytest.raises(ValueError, match=r"label columns \['fine', 'coarse'\]; name one"):
        class_sets(train, "red", **OPTIONS)
    sets = class_sets(train, "red", label="fine", image="img", **OPTIONS)
    assert sets.target.column_names == ["image", "label"]
    assert sets.digest() == make(what="red", test=None).digest()
    numbers = tiny.images(30).cast_column("label", Value("int64"))
    with pytest.raises(ValueError, match="cast_column"):
        class_sets(numbers, "red", label="label")


def test_a_test_set_of_other_classes_is_refused():
    other = tiny.images(30).cast_column("label", ClassLabel(names=["red", "green", "pink"]))
    with pytest.raises(ValueError, match="classes of the test set are other ones"):
        class_sets(tiny.images(90), "red", test=other, **OPTIONS)


def test_sets_survive_a_folder_and_changed_ones_do_not_load(tmp_path):
    sets = make()
    sets.save(tmp_path / "green")
    loaded = ClassSets.load(tmp_path / "green")
    assert loaded.digest() == sets.digest()
    assert repr(loaded) == repr(sets)
    assert (loaded.classes, loaded.label, loaded.seed) == (sets.classes, sets.label, sets.seed)
    with pytest.raises(ValueError, match="holds sets of classes, which TopicSets does not load"):
        TopicSets.load(tmp_path / "green")
    record = json.loads((tmp_path / "green" / "topic.json").read_text())
    record["sha256"]["retain"] = "0" * 64
    (tmp_path / "green" / "topic.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"retain in .* changed"):
        ClassSets.load(tmp_path / "green")


def test_the_digest_is_of_the_files_whether_they_are_in_the_table_or_beside_it(tmp_path):
    train = tiny.images(90)
    for i, file in enumerate(encoded_images(train, "image")):
        (tmp_path / f"{i}.png").write_bytes(file)
    columns = {"image": [str(tmp_path / f"{i}.png") for i in range(90)], "label": train["label"][:]}
    beside = Dataset.from_dict(columns, features=Features({"image": Image(), "label": train.features["label"]}))
    assert class_sets(beside, "red", **OPTIONS).digest() == class_sets(train, "red", **OPTIONS).digest()


def test_printing_tells_the_class_and_the_sizes():
    assert "Class 'green' (label 1 of 3 classes)" in repr(make())
    assert "target 12, control 20" in repr(make())
