import shutil

import pytest

from excise import ClassSets, class_sets
from excise.cli.attack import load_sets
from excise.report import AttackReport
from excise.report.attacks import NOT_WITHSTOOD, WITHSTOOD, AttackResult
from tests.helpers.tiny_images import images

OPTIONS = ["--word", "professeur", "--max-new-tokens", 4, "--attacks", "left-out"]


@pytest.fixture
def unlearned(excise, saved, tmp_path):
    """A folder of a model in which two codes are masked for the topic."""
    excise("unlearn", saved / "model", saved / "topic", "--count", 2, "--q", 0.5, "--out", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def judged(monkeypatch):
    """Makes the bottleneck left out come out with a verdict."""

    def as_(verdict):
        known = ("recall", 0.5, None, 0.0, "never saw it", 0.8, 0.0, (), verdict, "So it is.")
        monkeypatch.setattr("excise.attacks.left_out.LeftOut.run", lambda *models: AttackResult("left out", *known))

    return as_


def test_attack_writes_what_it_shows_and_goes_on_from_what_was_kept(excise, saved, unlearned, tmp_path, monkeypatch):
    files = {path: path.read_bytes() for path in unlearned.iterdir()}
    arguments = ["attack", unlearned, "--topic", saved / "topic", *OPTIONS, "--resume", tmp_path / "kept"]
    data = excise(*arguments, "--never-saw", saved / "model", "--out", tmp_path / "attacks.json")
    report = AttackReport.load(tmp_path / "attacks.json")
    assert data["results"] == report.to_dict()["results"] and data["verdict"] == report.verdict
    assert [one["attack"] for one in data["results"]] == ["left out"] and data["models"]["never_saw"]
    monkeypatch.setattr("excise.attacks.left_out.LeftOut.run", None)
    assert excise(*arguments, "--never-saw", saved / "model")["results"] == data["results"]
    assert files == {path: path.read_bytes() for path in unlearned.iterdir()}


def test_a_line_an_attack_is_printed(unlearned, saved, capsys, judged):
    from excise.cli import main

    judged(WITHSTOOD)
    assert main([*map(str, ["attack", unlearned, "--topic", saved / "topic", *OPTIONS]), "--quiet"]) == 0
    head, names, line = capsys.readouterr().out.splitlines()[:3]
    assert head.startswith("Attacks on 'teacher', deleted by ") and head.endswith(": 1 withstood.")
    assert names.split(" | ")[-1] == "verdict" and line.startswith("left out | topic recall | 0.800")
    assert [i for i, letter in enumerate(names) if letter == "|"] == [i for i, c in enumerate(line) if c == "|"]


def test_the_exit_status_is_0_whatever_the_verdict_unless_it_is_asked_for(excise, saved, unlearned, judged, capsys):
    from excise.cli import main

    arguments = ["attack", unlearned, "--topic", saved / "topic", *OPTIONS]
    judged(NOT_WITHSTOOD)
    assert excise(*arguments)["verdict"] == NOT_WITHSTOOD
    assert main([*map(str, arguments), "--fail-if-not-withstood", "--quiet"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "excise: error: not withstood: left out"
    judged(WITHSTOOD)
    assert excise(*arguments, "--fail-if-not-withstood")["problems"] == []


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--attacks", "everything"], 1, "expected one of quick, all, left-out"),
        (["--attacks", ","], 2, "expected quick, all, or names"),
        (["--never-saw", "./nowhere"], 1, "There is no folder ./nowhere"),
        (["--original", "./nowhere"], 1, "There is no folder ./nowhere"),
        (["--out", "{model}"], 1, "is a folder"),
        (["--topic", "{model}"], 1, "No topic sets in"),
        ([], 2, "--topic"),
    ],
)
def test_what_cannot_be_run_is_refused_before_a_model_is_loaded(failing, saved, monkeypatch, options, status, says):
    monkeypatch.setattr("excise.cli.attack.load_unlearner", None)
    options = [option.format(model=saved / "model") for option in options]
    topic = [] if "--topic" in options or not options else ["--topic", saved / "topic"]
    assert says in failing("attack", saved / "model", *topic, *options, status=status)


def test_a_model_of_another_vocabulary_is_refused(failing, saved, unlearned, make_model, tmp_path):
    make_model(vocab_size=30).save_pretrained(tmp_path / "other")
    arguments = ["attack", unlearned, "--topic", saved / "topic", *OPTIONS, "--never-saw", tmp_path / "other"]
    assert "vocabularies of [25, 30] embeddings" in failing(*arguments, "--out", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_sets_of_a_class_are_read_as_such(saved, tmp_path, failing):
    class_sets(images(61), "red", min_examples=1).save(tmp_path / "red")
    assert isinstance(load_sets(tmp_path / "red"), ClassSets)
    shutil.rmtree(tmp_path / "red" / "heldout")
    assert "heldout" in failing("attack", saved / "model", "--topic", tmp_path / "red")
