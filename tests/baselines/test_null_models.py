"""Models that never saw a topic or class, trained once and kept."""

import dataclasses
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from datasets import ClassLabel, Dataset

from excise.baselines import never_saw, retrain, without_topic
from excise.data.classes import ClassSets
from tests.baselines.conftest import FORGOTTEN
from tests.baselines.test_every_baseline import same


@pytest.fixture
def recipe(planted, arguments, make_linear):
    """A training of the clouds, its rows and settings; it counts how often it runs."""
    calls = []

    def train(rows):
        calls.append(len(rows))
        return retrain(make_linear, rows, arguments(epochs=1)).model

    train.calls = calls
    return train, planted.retain, arguments(epochs=1)


def test_it_trains_once_and_gives_the_same_model_again(recipe, planted, tmp_path):
    train, rows, args = recipe
    first = never_saw(train, rows, tmp_path / "new" / "cache", settings=args)
    second = never_saw(train, rows, tmp_path / "new" / "cache", settings=args)
    assert train.calls == [len(rows)]
    assert same(first, second) and type(first) is type(second) is type(planted.model)
    assert not first.training
    encodings = planted.forget_test["encodings"][:]
    assert (first(encodings=encodings).logits.argmax(-1) != FORGOTTEN).all()


def test_a_codebook_model_is_kept_with_its_bottleneck(taught, topic, tmp_path):
    calls = []

    def train(rows):
        calls.append(rows)
        return taught.never_saw

    models = [never_saw(train, topic.retain, tmp_path, settings={"steps": 60}) for _ in range(2)]
    assert len(calls) == 1 and all(same(model, taught.never_saw) for model in models)
    assert type(models[1]) is type(taught.never_saw)


def test_what_decides_the_training_is_in_the_fingerprint_and_where_it_writes_is_not(recipe, planted, tmp_path):
    train, rows, args = recipe
    args.output_dir = str(tmp_path / "elsewhere")

    def ask(rows=rows, settings=args, base=None, train=train):
        before = len(list(tmp_path.glob("*/never_saw.json")))
        never_saw(train, rows, tmp_path, settings=settings, base=base)
        return len(list(tmp_path.glob("*/never_saw.json"))) - before

    assert ask() == 1
    elsewhere = dataclasses.replace(args, output_dir=str(tmp_path / "other"))
    assert ask(settings=elsewhere) == 0
    assert ask(rows=rows.select(range(10))) == 1
    assert ask(settings=dataclasses.replace(args, learning_rate=0.01)) == 1
    assert ask(base=planted.model) == 1
    assert ask(train=lambda rows: train(rows)) == 1
    assert ask(settings={"args": args, "codes": 3}) == 1 and ask(settings={"args": args, "codes": 4}) == 1


def test_a_base_may_be_a_folder(recipe, planted, tmp_path):
    train, rows, args = recipe
    planted.model.save_pretrained(tmp_path / "base")
    for _ in range(2):
        never_saw(train, rows, tmp_path / "cache", settings=args, base=tmp_path / "base")
    assert len(train.calls) == 1
    with pytest.raises(ValueError, match="no folder that holds weights"):
        never_saw(train, rows, tmp_path / "cache", settings=args, base=tmp_path)


def test_one_of_two_at_once_trains_and_the_other_waits(recipe, tmp_path):
    train, rows, args = recipe
    pid, status = os.fork(), None
    if pid == 0:
        try:
            never_saw(slow(train), rows, tmp_path, settings=args)
            (tmp_path / "child").write_text(str(len(train.calls)))
        finally:
            os._exit(0)
    never_saw(slow(train), rows, tmp_path, settings=args)
    _, status = os.waitpid(pid, 0)
    assert status == 0 and int((tmp_path / "child").read_text()) + len(train.calls) == 1


def slow(train):
    """The same training, that another process can find at its work."""

    def waits(rows):
        time.sleep(0.3)
        return train(rows)

    return waits


def test_who_is_killed_in_the_middle_leaves_nothing_and_is_waited_for_no_longer(recipe, tmp_path):
    train, rows, args = recipe

    def killed(rows):
        (tmp_path / "begun").touch()
        time.sleep(60)

    def source(rows):
        return train(rows)

    pid = os.fork()
    if pid == 0:
        try:
            killed.func = source  # the same code, as far as the fingerprint goes
            never_saw(killed, rows, tmp_path / "cache", settings=args)
        finally:
            os._exit(0)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    never_saw(source, rows, tmp_path / "cache", settings=args)
    os.waitpid(pid, 0)
    assert len(train.calls) == 1
    assert len(list((tmp_path / "cache").glob("*/model"))) == 1


def test_a_training_that_fails_leaves_nothing(recipe, tmp_path):
    _, rows, args = recipe

    def fails(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        never_saw(fails, rows, tmp_path, settings=args)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    with pytest.raises(ValueError, match="`train` gave a NoneType"):
        never_saw(lambda rows: None, rows, tmp_path, settings=args)


def test_a_cache_that_cannot_be_written_is_refused_before_the_training(recipe, tmp_path):
    train, rows, args = recipe
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError, match="file"):
        never_saw(train, rows, tmp_path / "file", settings=args)
    assert not train.calls


def damage(model: Path, record: Path, how: str) -> None:
    weights = model / "model.safetensors"
    if how == "changed":
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    elif how == "gone":
        weights.unlink()
    elif how == "no record":
        record.write_text("{")
    else:
        state = json.loads(record.read_text())
        record.write_text(json.dumps(state | {"class": ["somewhere.else", "Model"]}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("changed", "the cache is damaged. Remove"),
        ("gone", "the cache is damaged. Remove"),
        ("no record", "never_saw.json"),
        ("other class", "somewhere.else.Model, which is not imported"),
    ],
)
def test_a_damaged_cache_is_refused(how, message, recipe, tmp_path):
    train, rows, args = recipe
    never_saw(train, rows, tmp_path, settings=args)
    (record,) = tmp_path.glob("*/never_saw.json")
    damage(record.parent / "model", record, how)
    with pytest.raises(ValueError, match=message):
        never_saw(train, rows, tmp_path, settings=args)


def test_no_rows_and_settings_that_are_no_json_are_refused(recipe, tmp_path):
    train, rows, _ = recipe
    with pytest.raises(ValueError, match="no rows to train on"):
        never_saw(train, rows.select([]), tmp_path, settings={})
    with pytest.raises(ValueError, match="holds a Linear, which is no JSON value"):
        never_saw(train, rows, tmp_path, settings={"head": torch.nn.Linear(2, 2)})


def pairs(*texts):
    return Dataset.from_dict({"translation": [{"en": text, "fr": "-"} for text in texts]})


def test_rows_without_a_topic_hold_none_of_its_forms(topic):
    rows = pairs("A teacher.", "Teachers!", "teacher-led", "the TEACHER's", "a cat", "teachable")
    assert [row["en"] for row in without_topic(rows, topic)["translation"]] == ["a cat", "teachable"]
    same_rows = Dataset.from_dict({"source": ["a teacher", "a cat"]})
    assert without_topic(same_rows, topic, "source")["source"][:] == ["a cat"]
    assert without_topic(topic.retain, topic)["text"][:] == topic.retain["text"][:]


def test_a_name_is_found_with_its_capital(topic):
    name = dataclasses.replace(topic, words=("Mark",), inflections=("Mark",))
    kept = without_topic(pairs("Mark it is.", "MARK!", "mark it", "a cat"), name)
    assert [row["en"] for row in kept["translation"]] == ["mark it", "a cat"]


def test_rows_without_a_class_are_of_all_others():
    rows = Dataset.from_dict({"label": [0, 1, 2, 1]})
    sets = ClassSets(("a", "b", "c"), 1, 0, *[rows] * 5)
    assert without_topic(rows, sets)["label"][:] == [0, 2]
    named = rows.cast_column("label", ClassLabel(names=["a", "b", "c"]))
    assert without_topic(named, sets)["label"][:] == [0, 2]
    turned = rows.cast_column("label", ClassLabel(names=["b", "c", "a"]))
    assert without_topic(turned, sets)["label"][:] == [1, 2, 1]
    assert without_topic(Dataset.from_dict({"label": ["b", "c", "a"]}), sets)["label"][:] == ["c", "a"]
    with pytest.raises(ValueError, match="classes of the data set are other ones: 'd' is not among a, b, c"):
        without_topic(rows.cast_column("label", ClassLabel(names=["a", "b", "d"])), sets)
    with pytest.raises(ValueError, match="no column of labels"):
        without_topic(rows.rename_column("label", "x"), sets)
    with pytest.raises(ValueError, match="All 2 rows are of 'b'"):
        without_topic(rows.select([1, 3]), sets)
