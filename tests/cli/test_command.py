import json
import subprocess
import sys

import pytest

from excise.cli import VERBS, main
from excise.cli.output import Output


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself_with_examples(capsys, verb):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: excise {verb}" in text
    assert f"\nexamples:\n  excise {verb}" in text


def test_help_of_train_lists_the_arguments_of_the_training(capsys):
    main(["train", "--help"])
    assert "--bottleneck_layers" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["excise", version("excise")]


def test_without_a_verb_the_usage_is_shown(capsys):
    assert main([]) == 2
    assert "usage: excise" in capsys.readouterr().err


def test_explaining_itself_takes_no_heavy_import():
    code = (
        "import sys; from excise.cli import main; main(['--help']); "
        "print(sorted({'torch', 'datasets'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_what_a_library_prints_goes_to_stderr_and_only_the_result_to_stdout(capsys, monkeypatch):
    def run(args):
        sys.stdout.write("a library's chatter\n")
        return Output("the result", {"value": float("nan")})

    monkeypatch.setattr("excise.cli.inspect.run", run)
    assert main(["inspect", "model", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"value": None, "problems": []}
    assert captured.err == "a library's chatter\n"


def test_problems_of_a_finished_run_are_an_exit_status_of_1_beside_the_result(capsys, monkeypatch):
    monkeypatch.setattr("excise.cli.inspect.run", lambda args: Output("a table", {}, ("recall is 0.9, above 0.1",)))
    assert main(["inspect", "model"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "a table\n"
    assert captured.err == "excise: error: recall is 0.9, above 0.1\n"


def test_an_unforeseen_error_names_its_type_and_debug_shows_where(capsys, monkeypatch):
    def run(args):
        raise KeyError("codes")

    monkeypatch.setattr("excise.cli.inspect.run", run)
    assert main(["inspect", "model"]) == 1
    assert capsys.readouterr().err == "excise: error: KeyError: 'codes' (--debug shows where)\n"
    with pytest.raises(KeyError):
        main(["inspect", "model", "--debug"])
