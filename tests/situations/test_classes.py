"""Classes as people bring them: each is the one that is meant, or is refused by what is wrong with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, List, Value
from transformers import CLIPConfig, CLIPForImageClassification

from excise import (
    CodebookCLIPForImageClassification,
    KeyValueForImageClassification,
    PairCounts,
    Search,
    Unlearner,
    class_sets,
    encode_images,
    evaluate_classes,
    frontier,
)
from excise.data.class_labels import class_index, class_labels
from excise.data.class_names import class_names
from excise.evaluation.classes import head_classes
from excise.models import CodebookCLIPConfig, KeyValueVisionConfig
from tests.helpers import tiny
from tests.helpers.tiny_images import ENCODERS, NAMES, images, key_value_model, processor

OPTIONS = {"min_examples": 4, "max_examples": 20, "max_retain": 30}
GREEN = 1

LISTS = {
    "a list": ["cat", "dog"],
    "a tuple": ("cat", "dog"),
    "an array": np.array(["cat", "dog"]),
    "by label": {0: "cat", 1: "dog"},
    "by label, in another order": {1: "dog", 0: "cat"},
    "by labels that are texts, as in JSON": {"0": "cat", "1": "dog"},
    "by labels of NumPy": {np.int64(0): "cat", np.int64(1): "dog"},
    "the type of a column": ClassLabel(names=["cat", "dog"]),
}


@pytest.mark.parametrize("names", LISTS.values(), ids=LISTS)
def test_names_of_classes_are_read_from(names):
    assert class_names(names) == ("cat", "dog")


NO_LISTS = {
    "a label left out": ({0: "cat", 2: "dog"}, "each number from 0 to 1 once"),
    "labels from 1": ({1: "cat", 2: "dog"}, "each number from 0 to 1 once"),
    "a label twice": ({0: "cat", "0": "dog"}, "each number from 0 to 1 once"),
    "a label2id": ({"cat": 0, "dog": 1}, "are a `label2id`: turn it round"),
    "a name twice": (["cat", "dog", "cat"], "'cat' stands for more than one class"),
    "a name that is a number": ([3, 4], "3 is no name of a class"),
    "an empty name": (["cat", " "], "' ' is no name of a class"),
    "a text": ("cat", "expected a list of names"),
    "none": ([], "expected a list of names, at least one"),
}


@pytest.mark.parametrize(("names", "message"), NO_LISTS.values(), ids=NO_LISTS)
def test_what_is_no_list_of_classes_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        class_names(names)


ASKED = {
    "by its name": "dog",
    "in capitals": "DOG",
    "with a space behind": "dog ",
    "by its label": 1,
    "by a number of NumPy": np.int32(1),
    "by a number of torch": torch.tensor(1),
    "by a text of NumPy": np.str_("dog"),
    "in a list of one": ["dog"],
    "in a list, twice": ["dog", "dog"],
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_class_is_asked_for(asked):
    assert class_index(asked, ["cat", "dog", "sports car"]) == 1


NOT_ASKED = {
    "a name that is near": ("dogs", "no class 'dogs'.*Near it: dog"),
    "a name with another mark": ("sports_cars", "Near it: sports car"),
    "a label as a text": ("1", "A label is given as a number: 1, not '1'"),
    "a label out of range": (3, "no class 3; there are 3, labels from 0: cat, dog, sports car"),
    "a label below nothing": (-1, "no class -1"),
    "true": (True, "no class True"),
    "true of NumPy": (np.True_, "no class"),
    "true of torch": (torch.tensor(True), "no class"),
    "a number with a point": (1.0, "no class 1.0"),
    "nothing": (None, "no class None"),
    "no class": ([], "0 classes are asked for: none"),
    "several": (["cat", "dog"], "2 classes are asked for: cat, dog. Expected one.*one after the other"),
    "all": (["cat", "dog", "sports car"], "3 classes are asked for"),
}


@pytest.mark.parametrize(("asked", "message"), NOT_ASKED.values(), ids=NOT_ASKED)
def test_a_class_that_is_not_there_is_refused(asked, message, counts):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        class_index(asked, ["cat", "dog", "sports car"])
    with pytest.raises(ValueError, match=r"no class|classes are asked for"):
        counts.topic(asked if asked != 3 else 4)


def test_a_number_that_is_one_class_by_label_and_another_by_name_is_refused():
    folders = sorted(str(i) for i in range(12))  # 0, 1, 10, 11, 2, ...: as an image folder has them
    assert class_index("2", folders) == 4
    with pytest.raises(ValueError, match="2 is the label of the class '10' and the name of another"):
        class_index(2, folders)
    years = [str(year) for year in range(1990, 1995)]
    with pytest.raises(ValueError, match=r"1991 is no label and the name of another. Give a name, as the text '1991'"):
        class_index(1991, years)


def with_labels(labels, feature, rows=None) -> Dataset:
    """The images, with other labels."""
    rows = images(len(labels)) if rows is None else rows
    return rows.remove_columns("label").add_column("label", labels, feature=feature)


def named(rows=200) -> list[str]:
    return [NAMES[label] for label in images(rows)["label"]]


COLUMNS = {
    "labels with names": (lambda: images(200), None),
    "names in another order": (
        lambda: with_labels([3 - label for label in images(200)["label"]], ClassLabel(names=NAMES[::-1])),
        None,
    ),
    "names as texts": (lambda: with_labels(named(), Value("string")), None),
    "labels alone, and the names beside them": (lambda: images(200).cast_column("label", Value("int64")), NAMES),
    "labels of 8 bits, and an id2label": (
        lambda: images(200).cast_column("label", Value("uint8")),
        {str(i): name for i, name in enumerate(NAMES)},
    ),
    "as rows of torch": (lambda: images(200).with_format("torch"), None),
    "names in another order, and the order that is wanted": (
        lambda: with_labels([3 - label for label in images(200)["label"]], ClassLabel(names=NAMES[::-1])),
        NAMES,
    ),
    "names in capitals, and those that are wanted": (
        lambda: with_labels(named(), Value("string")).map(lambda row: {"label": row["label"].title()}),
        NAMES,
    ),
}


@pytest.mark.parametrize(("make", "classes"), COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("asked", ["green", "Green"])
def test_the_sets_of_a_class_are_its_images_whatever_column_tells_of_it(make, classes, asked):
    sets = class_sets(make(), asked, classes=classes, **OPTIONS)
    expected = class_sets(images(200), "green", **OPTIONS)
    assert sets.name == "green"
    for name in ("target", "heldout"):
        greens = [np.asarray(picture).mean((0, 1)).argmax() == GREEN for picture in getattr(sets, name)["image"]]
        assert all(greens) and len(greens) == len(getattr(expected, name))
        assert {sets.classes[label] for label in getattr(sets, name)["label"]} == {"green"}
    assert {sets.classes[label] for label in sets.control["label"]} == {"red", "blue", "grey"}


NO_COLUMNS = {
    "labels without names": (lambda: images(80).cast_column("label", Value("int64")), "classes=.*cast_column"),
    "a label of -1, as a hidden test set has": (
        lambda: with_labels([*images(80)["label"][:79], -1], ClassLabel(names=NAMES)),
        "Row 79 has label -1, which is out of range",
    ),
    "a label that is missing": (
        lambda: with_labels([None, *images(80)["label"][1:]], ClassLabel(names=NAMES)),
        "Row 0 has label None",
    ),
    "a name that is missing": (lambda: with_labels([None, *named(80)[1:]], Value("string")), "Row 0 has label None"),
    "an empty name": (lambda: with_labels(["", *named(80)[1:]], Value("string")), "Row 0 has label None"),
    "numbers with a point, as of missing ones in pandas": (
        lambda: with_labels([float(label) for label in images(80)["label"]], Value("float64")),
        "values of type float64.*get a point",
    ),
    "one-hot": (
        lambda: with_labels(np.eye(4, dtype=int)[images(80)["label"][:]].tolist(), List(Value("int64"))),
        r"several values a row \(one-hot",
    ),
    "several classes an image": (
        lambda: with_labels([[label, 0] for label in images(80)["label"]], List(ClassLabel(names=NAMES))),
        "several values a row",
    ),
    "names that differ in case": (
        lambda: with_labels([name.title() if i % 2 else name for i, name in enumerate(named(80))], Value("string")),
        "'Blue' and 'blue', which differ in case or spaces alone",
    ),
    "names that differ in a space": (
        lambda: with_labels([name + " " * (i % 5 == 0) for i, name in enumerate(named(80))], Value("string")),
        "which differ in case or spaces alone",
    ),
    "true and false": (
        lambda: with_labels([label == 1 for label in images(80)["label"]], Value("bool")),
        "has the names of its classes; give them, as by `classes=`",
    ),
    "no column": (lambda: images(80).remove_columns("label"), "no column of labels.*label="),
}


@pytest.mark.parametrize(("make", "message"), NO_COLUMNS.values(), ids=NO_COLUMNS)
def test_a_column_that_tells_no_one_class_of_a_row_is_refused(make, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        class_sets(make(), "green", **OPTIONS)


def test_true_and_false_take_two_names():
    rows = with_labels([label == GREEN for label in images(80)["label"]], Value("bool"))
    assert class_labels(rows, classes=["other", "green"])[1][:3] == [int(i == GREEN) for i in images(80)["label"][:3]]


def test_numbers_as_texts_are_in_the_order_of_numbers():
    texts = Dataset.from_dict({"label": ["10", "2", "1", "2"]})
    assert class_labels(texts) == ("label", [2, 1, 0, 1], ("1", "2", "10"))


def test_a_test_set_in_another_order_goes_by_the_names():
    turned = with_labels([3 - label for label in images(80, 1)["label"]], ClassLabel(names=NAMES[::-1]), images(80, 1))
    texts = with_labels([NAMES[label] for label in images(80, 1)["label"]], Value("string"), images(80, 1))
    expected = class_sets(images(200), "green", test=images(80, 1), **OPTIONS)
    for test in (turned, texts, turned.rename_columns({"img": "picture", "label": "fine"})):
        assert class_sets(images(200), "green", test=test, **OPTIONS).digest() == expected.digest()
    with pytest.raises(ValueError, match="classes of the test set are other ones: 'pink' is not among red"):
        class_sets(images(200), "green", test=turned.cast_column("label", ClassLabel(names=["pink", *NAMES[1:]])))


@pytest.fixture
def counts(pairs, model) -> PairCounts:
    return PairCounts.count(pairs["train"], model.bottleneck)


TURNED = {
    "in the same order": lambda rows: rows,
    "in another order": lambda rows: with_labels(
        [3 - label for label in rows["label"]], ClassLabel(names=NAMES[::-1]), rows
    ),
    "as texts": lambda rows: with_labels([NAMES[label] for label in rows["label"]], Value("string"), rows),
    "in capitals": lambda rows: rows.cast_column("label", ClassLabel(names=[name.upper() for name in NAMES])),
    "as numbers, which are the model's": lambda rows: rows.cast_column("label", Value("int64")),
}


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED)
def test_encodings_have_the_labels_of_the_model(turn, tmp_path):
    found = encode_images(key_value_model(), turn(images(40)), processor(), cache_dir=tmp_path, progress=False)
    assert found["labels"][:] == images(40)["label"][:]


def test_a_few_of_a_models_classes_are_enough_and_others_are_refused(tmp_path):
    few = images(40).filter(lambda row: row["label"] in (1, 3))
    rows = with_labels([int(label == 1) for label in few["label"]], ClassLabel(names=["grey", "green"]), few)
    found = encode_images(key_value_model(), rows, processor(), cache_dir=tmp_path, progress=False)
    assert found["labels"][:] == few["label"][:]
    other = rows.cast_column("label", ClassLabel(names=["grey", "verde"]))
    with pytest.raises(ValueError, match="model has no class 'verde'; its classes are red, green, blue, grey"):
        encode_images(key_value_model(), other, processor(), cache_dir=tmp_path, progress=False)
    gaps = with_labels([7, *few["label"][1:]], Value("int64"), few)
    with pytest.raises(ValueError, match=r"classes 0 to 3. Row 0 has 7"):
        encode_images(key_value_model(), gaps, processor(), cache_dir=tmp_path, progress=False)


@pytest.mark.parametrize("turn", list(TURNED.values())[:4], ids=list(TURNED)[:4])
def test_the_class_that_is_asked_for_is_the_one_that_is_forgotten(model, counts, turn):
    unlearner = Unlearner(model, processor())
    sets = class_sets(turn(images(400)), "green", test=images(120, seed=1), **OPTIONS)
    request = unlearner.forget(counts.topic("Green"), Search("activations", count=400))
    scores = evaluate_classes(unlearner, sets, random_codes=False, progress=False).scores
    assert request.topic == "green"
    assert scores["before"]["heldout"]["accuracy"] > 0.9 > 0.2 > scores["after"]["heldout"]["accuracy"]
    assert scores["after"]["heldout_retain"]["accuracy"] > 0.8


NAMED = {
    "the same": (NAMES, NAMES),
    "another order": (NAMES[::-1], NAMES[::-1]),
    "capitals": ([name.upper() for name in NAMES], NAMES),
    "none, so the order decides": ([f"LABEL_{i}" for i in range(4)], NAMES),
}


@pytest.mark.parametrize(("own", "expected"), NAMED.values(), ids=NAMED)
def test_the_outputs_of_a_model_are_found_by_name(own, expected, caplog):
    model = key_value_model()
    model.config.id2label = dict(enumerate(own))
    assert head_classes(model, NAMES) == list(expected)
    assert ("so their order decides: 0 is 'red'" in caplog.text) == (own[0] == "LABEL_0")


def test_a_model_of_other_names_is_refused_and_not_taken_by_position():
    model = key_value_model()
    for own in (["rouge", "vert", "bleu", "gris"], ["red", "green", "blue", "gris"]):
        model.config.id2label = dict(enumerate(own))
        with pytest.raises(ValueError, match=r"model has no class '.*; its classes are .*gris"):
            head_classes(model, NAMES)


def test_a_class_that_a_private_request_hides_is_still_known(model, counts):
    unlearner = Unlearner(model, processor())
    search = Search("activations", count=50)
    unlearner.forget(counts.topic("green"), search, private=True, label="request-17")
    assert list(model.config.id2label.values()) == ["red", "request-17", "blue", "grey"]
    assert head_classes(model, NAMES) == NAMES
    assert head_classes(model, NAMES[::-1]) == NAMES
    unlearner.forget(counts.topic("blue"), search, private=True, label="request-18")
    assert head_classes(model, NAMES) == NAMES
    with pytest.raises(ValueError, match="which is which is not known"):
        head_classes(model, NAMES[::-1])


@pytest.mark.parametrize(
    "names", [NAMES, dict(enumerate(NAMES)), {str(i): n for i, n in enumerate(NAMES)}], ids=["list", "int", "text"]
)
def test_a_models_settings_take_names_as_they_come(names, tmp_path):
    for config in (
        KeyValueVisionConfig(encoder=ENCODERS["resnet"], id2label=names),
        CodebookCLIPConfig(vision_config=tiny.CLIP_VISION, text_config=tiny.CLIP_TEXT, id2label=names),
    ):
        config.save_pretrained(tmp_path)
        for one in (config, type(config).from_pretrained(tmp_path)):
            assert one.id2label == dict(enumerate(NAMES)) and one.num_labels == 4
            assert {name: int(i) for name, i in (one.label2id or {}).items()} in (
                {name: i for i, name in enumerate(NAMES)},
                {},
            )


def test_a_model_on_an_encoder_or_a_clip_takes_names_as_they_come(tmp_path):
    key_value_model().encoder.save_pretrained(tmp_path / "encoder")
    for names in (NAMES, {str(i): name for i, name in enumerate(NAMES)}):
        model = KeyValueForImageClassification.from_encoder(tmp_path / "encoder", id2label=names)
        assert model.config.id2label == dict(enumerate(NAMES)) and model.config.label2id["grey"] == 3
    with pytest.raises(ValueError, match="'red' stands for more than one class"):
        KeyValueForImageClassification.from_encoder(tmp_path / "encoder", id2label=["red", "red"])
    tiny.base_clip().save_pretrained(tmp_path / "clip")
    for names in (tiny.CLASSES, dict(enumerate(tiny.CLASSES))):
        clip = CodebookCLIPForImageClassification.from_base(tmp_path / "clip", tiny.bottleneck_config(), [2], names)
        assert clip.config.id2label == dict(enumerate(tiny.CLASSES))
    plain = CLIPConfig(vision_config=tiny.CLIP_VISION, text_config=tiny.CLIP_TEXT, id2label={0: "a", 1: "b"})
    CLIPForImageClassification(plain).save_pretrained(tmp_path / "trained")
    with pytest.raises(ValueError, match="classes in another order, a, b, and names do not move the outputs"):
        CodebookCLIPForImageClassification.from_base(tmp_path / "trained", tiny.bottleneck_config(), [2], ["b", "a"])


class TestFrontier:
    @pytest.fixture
    def unlearner(self, model):
        return Unlearner(model, processor())

    def test_it_takes_names_labels_and_counts(self, unlearner, counts, encodings):
        selections = {n: unlearner.choose(counts.topic("green"), Search("activations", count=n)) for n in (20, 400)}
        expected = frontier(unlearner, encodings["test"], GREEN, selections, progress=False)
        for asked in ("green", "Green", np.int64(1)):
            assert frontier(unlearner, encodings["test"], asked, selections, progress=False) == expected
        assert frontier(unlearner, encodings["test"], counts.topic("green"), [20, 400], progress=False) == expected
        assert frontier(unlearner, images(120, seed=1), counts.topic(1), [400, 20], progress=False) == expected
        nameless = replace(counts, classes=None).topic(1, name="green")
        assert frontier(unlearner, encodings["test"], nameless, [20, 400], progress=False) == expected
        assert expected.points[0].forget > 0.9 > 0.2 > expected.points[-1].forget

    def test_numbers_without_counts_and_unknown_classes_are_refused(self, unlearner, encodings):
        with pytest.raises(ValueError, match=r"numbers 20, 400 alone. Give the class as `counts.topic"):
            frontier(unlearner, encodings["test"], "green", [20, 400])
        with pytest.raises(ValueError, match=r"no class 'greens'.*Near it: green"):
            frontier(unlearner, encodings["test"], "greens", {})


@pytest.mark.parametrize("verb", ["choose", "mask", "forget", "delete"])
def test_what_is_no_class_of_counts_is_refused_by_each_verb(model, verb):
    call = getattr(Unlearner(model, processor()), verb)
    for wrong in ("green", 1, ["green"], []):
        with pytest.raises(ValueError, match=r"counts.topic|class_sets"):
            call(wrong)
