"""A tiny model and topic sets on disk, and the command as a function."""

import json

import pytest

from excise.cli import main

SITE = "encoder.block.1"


@pytest.fixture(scope="session")
def saved(make_model, tokenizer, topic, tmp_path_factory):
    """Folders `model` and `topic`, to read only."""
    folder = tmp_path_factory.mktemp("saved")
    make_model().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    topic.save(folder / "topic")
    return folder


@pytest.fixture
def excise(capsys):
    """Runs a verb and gives its JSON; the exit status must be 0."""

    def run(*argv):
        status = main([*map(str, argv), "--json", "--quiet"])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return json.loads(captured.out)

    return run


@pytest.fixture
def failing(capsys):
    """Runs a verb that must fail with a status, and gives its one line on stderr."""

    def run(*argv, status=1):
        assert main([*map(str, argv), "--quiet"]) == status
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        return [line for line in captured.err.splitlines() if line.startswith("excise")][-1]

    return run
