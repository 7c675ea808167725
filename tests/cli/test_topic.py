import json

import pytest
from datasets import Dataset, DatasetDict

from excise.cli import main
from excise.data import load_rows
from excise.data.topics import TopicSets

PEOPLE = ("teacher", "uncle", "doctor")


def pairs(numbers):
    return [
        {"translation": {"en": f"My {word} has {n} hats.", "fr": f"{word} {n}."}} for word in PEOPLE for n in numbers
    ]


@pytest.fixture(params=["parquet", "json", "jsonl", "saved", "split"])
def rows(request, tmp_path):
    """One data set in each form that a command line may name."""
    dataset = Dataset.from_list(pairs(range(90)))
    place = tmp_path / f"rows.{request.param}"
    if request.param == "parquet":
        dataset.to_parquet(place)
    elif request.param in ("json", "jsonl"):
        place.write_text("".join(json.dumps(row) + "\n" for row in pairs(range(90))))
    elif request.param == "saved":
        dataset.save_to_disk(place)
    else:
        DatasetDict(train=dataset).save_to_disk(place)
    return place


def test_topic_makes_the_sets_of_any_form_of_data_set(excise, rows, tmp_path):
    columns = ["--text", "en", "--reference", "fr", "--replacement", "doctor"]
    data = excise("topic", "--dataset", rows, "--word", "teacher", *columns, "--out", tmp_path / "out")
    topic = TopicSets.load(tmp_path / "out")
    assert data["rows"] == {name: len(getattr(topic, name)) for name in data["rows"]}
    assert data["sha256"] == topic.digest()
    assert data["rows"]["target"] + data["rows"]["heldout"] == 90
    assert data["samples"][0]["target"].replace("teacher", "doctor") == data["samples"][0]["control"]


def test_an_evaluation_split_or_data_set_is_where_the_held_out_rows_come_from(excise, tmp_path):
    DatasetDict(train=Dataset.from_list(pairs(range(30))), test=Dataset.from_list(pairs(range(50, 90)))).save_to_disk(
        tmp_path / "data"
    )
    options = ["topic", "--dataset", tmp_path / "data", "--word", "teacher", "--text", "en", "--replacement", "doctor"]
    data = excise(*options, "--evaluation-split", "test", "--out", tmp_path / "a")
    assert (data["rows"]["target"], data["rows"]["heldout"]) == (30, 40)
    Dataset.from_list(pairs(range(50, 75))).to_parquet(tmp_path / "other.parquet")
    data = excise(*options, "--evaluation-dataset", tmp_path / "other.parquet", "--out", tmp_path / "b")
    assert (data["rows"]["target"], data["rows"]["heldout"]) == (30, 25)


def test_a_prefix_is_put_before_each_text(excise, tmp_path):
    Dataset.from_list(pairs(range(90))).to_parquet(tmp_path / "rows.parquet")
    options = ["--word", "teacher", "--text", "en", "--prefix", "to French: ", "--replacement", "doctor"]
    data = excise("topic", "--dataset", tmp_path / "rows.parquet", *options, "--out", tmp_path / "out")
    assert data["prefix"] == "to French: "
    assert all(text.startswith("to French: My ") for text in TopicSets.load(tmp_path / "out").heldout["text"])


def test_the_sentences_that_excise_carries_have_a_name(excise, tmp_path):
    data = excise(
        *["topic", "--dataset", "excise:demo", "--evaluation-split", "test", "--word", "teacher"],
        *["--text", "en", "--reference", "fr", "--out", tmp_path / "out"],
    )
    assert data["rows"]["target"] >= 150


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "nothing.parquet", "--text", "en"], "There is no file nothing.parquet"),
        (["--dataset", "excise:demo", "--split", "dev", "--text", "en"], "no split 'dev'; it has train, test"),
        (["--dataset", "excise:demo", "--text", "de"], "There is no text column 'de'"),
        (["--dataset", "excise:demo", "--text", "en", "--min-examples", "1000"], "Too few examples of teacher"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused_in_one_line(failing, tmp_path, arguments, says):
    assert says in failing("topic", "--word", "teacher", *arguments, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_topic_leaves_nothing(failing, tmp_path, monkeypatch):
    save = Dataset.save_to_disk

    def interrupt(self, folder):
        save(self, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(Dataset, "save_to_disk", interrupt)
    options = ["--dataset", "excise:demo", "--text", "en", "--word", "teacher", "--out", tmp_path / "out"]
    assert failing("topic", *options, status=130) == "excise: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_files_of_one_split_are_read_whatever_the_split_is_called(tmp_path):
    Dataset.from_list(pairs(range(2))).to_parquet(tmp_path / "a.parquet")
    assert len(load_rows(str(tmp_path / "a.parquet"), split="test")) == 6


def test_private_sets_go_by_their_label_in_all_that_is_made_of_them(excise, failing, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in pairs(range(90))))
    argv = ["topic", "--dataset", rows, "--word", "teacher", "--text", "en", "--replacement", "doctor"]
    data = excise(*argv, "--out", tmp_path / "out", "--private", "--label", "request-17")
    assert data["topic"] == "request-17" and "teacher" not in json.dumps(data)
    assert TopicSets.load(tmp_path / "out").name == "request-17"
    assert (tmp_path / "out" / "private.key").is_file()
    assert "give --private and --label" in failing(*argv, "--out", tmp_path / "no", "--private", status=2)


def test_a_progress_bar_is_shown_unless_it_is_to_be_quiet(tmp_path, capsys):
    Dataset.from_list(pairs(range(90))).to_parquet(tmp_path / "rows.parquet")
    options = ["topic", "--dataset", tmp_path / "rows.parquet", "--word", "teacher", "--text", "en"]
    for number, (quiet, shown) in enumerate([([], True), (["--quiet"], False)]):
        argv = [*options, "--replacement", "doctor", *quiet, "--out", tmp_path / str(number)]
        assert main(list(map(str, argv))) == 0
        assert ("topic sets: reading" in capsys.readouterr().err) == shown
