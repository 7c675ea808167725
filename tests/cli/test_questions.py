"""Questions on the command line: files of them, and saved sets, of a decoder with bottlenecks in a folder."""

import json

import pytest

from excise import Unlearner
from excise.data import QuestionSets
from excise.report.attacks import AttackReport

CODES = ("--method", "activations", "--count", "20")


@pytest.fixture(scope="module")
def folder(asked, padded_tokenizer, tmp_path_factory):
    """`model`, `never`, `sets`, and the files `go.jsonl` and `stay.json`."""
    folder = tmp_path_factory.mktemp("asked")
    for name, model in {"model": asked.original, "never": asked.never_saw}.items():
        model.save_pretrained(folder / name)
        padded_tokenizer.save_pretrained(folder / name)
    (folder / "go.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked.go), encoding="utf-8")
    (folder / "stay.json").write_text(json.dumps(asked.stay), encoding="utf-8")
    asked.sets.save(folder / "sets")
    return folder


@pytest.fixture
def asks(folder):
    return folder / "go.jsonl", "--retain", folder / "stay.json", "--heldout", 0


def test_questions_are_forgotten_evaluated_attacked_and_deleted(excise, folder, asks, tmp_path):
    made = excise("unlearn", folder / "model", *asks, *CODES, "--out", tmp_path / "unlearned")
    assert made["request"]["num_codes"] == 20
    # The ledger tells of the sets by their digests: whoever has them knows again what was asked for.
    (request,) = Unlearner.from_pretrained(tmp_path / "unlearned").ledger.requests
    assert QuestionSets.load(folder / "sets").is_data_of(request.data)

    options = ("--reference-model", folder / "never", "--max-new-tokens", 4, "--out", tmp_path / "scores.json")
    scores = excise("evaluate", tmp_path / "unlearned", *asks, *options)["scores"]
    assert {*scores} >= {"before", "after", "bottleneck left out"}
    assert scores["after"]["heldout"]["probability"] < scores["before"]["heldout"]["probability"]
    assert scores["after"]["heldout"]["total"] == 36

    options = ("--never-saw", folder / "never", "--attacks", "left-out", "--out", tmp_path / "attacks.json")
    attacked = excise("attack", tmp_path / "unlearned", "--topic", folder / "sets", *options)
    assert attacked["verdict"] == "not withstood"
    assert AttackReport.load(tmp_path / "attacks.json").results[0].measure == "probability"

    excise("delete", tmp_path / "unlearned", "--request", 1, "--out", tmp_path / "deleted")
    again = excise("evaluate", tmp_path / "deleted", *asks, "--max-new-tokens", 2, "--out", tmp_path / "again.json")
    assert "after" in again["scores"] and "before" not in again["scores"]


def test_sets_that_a_ledger_knows_are_searched_anew_on_a_newer_checkpoint(excise, folder, asked, tmp_path):
    excise("unlearn", folder / "model", folder / "sets", *CODES, "--out", tmp_path / "old")
    (old,) = Unlearner.from_pretrained(tmp_path / "old").ledger.requests
    excise("unlearn", folder / "never", folder / "sets", *CODES, "--out", tmp_path / "newer")
    (new,) = Unlearner.from_pretrained(tmp_path / "newer").ledger.requests
    assert (new.topic, new.data) == (old.topic, old.data) and new.codes != old.codes


def test_as_many_codes_go_as_the_answers_that_stay_allow(excise, folder, asks, tmp_path):
    options = ("--method", "activations", "--share", 1.0, "--max-loss-rise", 0.05, "--out", tmp_path / "some")
    made = excise("unlearn", folder / "model", *asks, *options)
    said = made["request"]["thresholds"]
    assert said["probability_fall"] <= said["max_probability_fall"] == 0.05 and made["request"]["num_codes"] > 0


def test_embedding_rows_of_a_name_go_with_its_codes(excise, folder, tmp_path):
    asks = (folder / "go.jsonl", "--retain", folder / "stay.json", "--name", "Hina", "--heldout", 0)
    made = excise("delete", folder / "model", *asks, *CODES, "--depth", "rows", "--out", tmp_path / "deleted")
    assert sum(map(len, made["request"]["rows"].values())) > 0


WRONG = {
    "a file alone": (2, "unlearn", ("go.jsonl", "--out", "x"), "needs --retain, those that stay, or --name"),
    "saved sets and rows that stay": (
        2,
        "unlearn",
        ("sets", "--retain", "stay.json", "--out", "x"),
        "--retain and --name go with a file of questions",
    ),
    "a file that is not there": (
        1,
        "unlearn",
        ("none.jsonl", "--retain", "stay.json", "--out", "x"),
        "There is no file none.jsonl",
    ),
    "a search over a number of beams": (2, "evaluate", ("sets", "--beams", "2", "--out", "e.json"), "are of texts"),
    "rows of nobody's own": (
        1,
        "delete",
        ("sets", "--depth", "rows", *CODES, "--out", "x"),
        "Questions without names have no words whose rows could go",
    ),
    "a file of other columns": (
        1,
        "unlearn",
        ("bad.jsonl", "--retain", "stay.json", "--out", "x"),
        "Expected question",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_command_line_refuses(failing, folder, monkeypatch, what):
    status, verb, words, said = WRONG[what]
    (folder / "bad.jsonl").write_text('{"q": "Who?"}\n', encoding="utf-8")
    monkeypatch.chdir(folder)
    assert said in failing(verb, "model", *words, status=status)
