"""Benchmarks: turns, ratios and pages are right, and every script runs at tiny size without the other libraries."""

import argparse
import importlib
import json
import re
import sys
from types import SimpleNamespace

import pytest
import torch

# What starts processes of its own is looked at on its own.
IN_PROCESS = (
    "lookup",
    "lookup_rule",
    "bottleneck_step",
    "sparse_coders",
    "training_step",
    "generation",
    "find_codes",
    "key_value",
)
LINE = {
    "command": "python x.py",
    "commit": "c",
    "date": "d",
    "seed": 0,
    "threads": 1,
    "tiny": False,
    "load": [0.0, 1.0],
}


@pytest.fixture
def benchmarks(root, monkeypatch):
    """Imports a script or a module of the benchmarks by its name, and forgets them all afterwards."""
    folder = root / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    names = {"harness", *(path.stem for path in folder.glob("*.py"))}

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]

    forget()
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    forget()


@pytest.fixture
def alone(benchmarks, monkeypatch):
    """The same, where no peer is installed."""
    monkeypatch.setattr(benchmarks("harness.peers"), "installed_version", lambda package: None)
    return benchmarks


def test_what_is_compared_takes_turns_and_none_is_always_first(benchmarks):
    order = []
    turns = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = benchmarks("harness.measurement").take_turns(turns, 3, warm=1)
    assert order == [*"ba", *"ab", *"ba", *"ab"]
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_preparation_is_not_timed_and_what_times_itself_is_believed(benchmarks):
    measurement, done = benchmarks("harness.measurement"), []
    turn = measurement.Turn(lambda: 0.25, before=lambda: done.append("before"))
    assert measurement.take_turns({"a": turn}, 2, warm=0) == {"a": [0.25, 0.25]}
    assert done == ["before", "before"]


def test_a_ratio_is_taken_within_each_round(benchmarks):
    measurement = benchmarks("harness.measurement")
    seconds = {"ours": [1.0, 20.0, 3.0], "theirs": [2.0, 40.0, 3.0]}  # the second round was a busy one
    row = measurement.ratio("x", seconds, "ours", "theirs", reach=measurement.Reach(0.6))
    assert (row.value, row.low, row.high, row.passed) == (0.5, 0.5, 1.0, True)
    speed = measurement.ratio("x", seconds, "ours", "theirs", speed=True, reach=measurement.Reach(2.1, at_least=True))
    assert (speed.value, speed.passed, speed.as_json()["reach"]) == (2.0, False, ">= 2.1")
    assert speed.as_json()["seconds"]["ours"] == {
        "median": 3.0,
        "minimum": 1.0,
        "maximum": 20.0,
        "runs": [1.0, 20.0, 3.0],
    }


def test_a_number_that_was_not_measured_has_not_passed(benchmarks):
    measurement = benchmarks("harness.measurement")
    assert measurement.missing("x", None, "why", reach=measurement.Reach(1.0)).passed is False
    assert measurement.missing("x", None, "why").passed is None


def test_results_of_one_benchmark_leave_those_of_others_as_they_are(benchmarks, tmp_path):
    report, file = benchmarks("harness.report"), tmp_path / "results.json"
    report.ResultsFile(file).write("a", LINE | {"rows": [{"what": "one"}]}, {"machine": {"cores": 2}})
    report.ResultsFile(file).write("b", LINE | {"rows": [{"what": "two"}]}, {})
    data = json.loads(file.read_text())
    assert list(data["benchmarks"]) == ["a", "b"] and data["machine"] == {"cores": 2}
    assert [row["what"] for row in report.ResultsFile(file).rows] == ["one", "two"]


def test_the_page_says_where_a_peer_wins_and_who_is_missing_and_keeps_what_people_wrote(benchmarks, tmp_path):
    report, measurement = benchmarks("harness.report"), benchmarks("harness.measurement")
    rows = [
        measurement.ratio("slow", {"excise": [2.0, 2.0], "p": [1.0, 1.0]}, "excise", "p", peer=True),
        measurement.ratio("fast", {"excise": [1.0, 1.0], "p": [2.0, 2.0]}, "excise", "p", peer=True),
        measurement.ratio("open", {"excise": [1.0, 2.0], "p": [2.0, 1.0]}, "excise", "p", peer=True),
        measurement.missing("gone", "q", "q is not installed", peer=True),
        measurement.seconds_row("late", [3.0], reach=measurement.Reach(2.0)),
    ]
    results = report.ResultsFile(tmp_path / "results.json")
    results.write("a", LINE | {"rows": [row.as_json() for row in rows]}, {})
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n{report.START}\nold\n{report.END}\nmore of mine\n")
    report.write_readme(readme, results, ["plot.svg"])
    text = readme.read_text()
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    assert "**the peer**" in lines["slow"] and "| excise |" in lines["fast"] and "rounds differ" in lines["open"]
    assert "not measured" in lines["gone"] and "q is not installed" in lines["gone"]
    assert "| <= 2 | no |" in lines["late"] and "`python x.py`" in lines["late"]
    assert text.startswith("# Mine\n") and text.endswith("\nmore of mine\n") and "old" not in text
    report.write_readme(readme, results, ["plot.svg"])
    assert readme.read_text() == text


def test_a_page_without_its_markers_is_left_alone(benchmarks, tmp_path):
    report = benchmarks("harness.report")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="once each"):
        report.write_readme(tmp_path / "README.md", report.ResultsFile(tmp_path / "results.json"), [])
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_plot_of_the_same_numbers_is_the_same_file(benchmarks, tmp_path):
    plots, measurement = benchmarks("harness.plots"), benchmarks("harness.measurement")
    seconds = {"excise": [1.0, 2.0], "p": [2.0, 3.0]}
    rows = [
        measurement.ratio("judged", seconds, "excise", "p", reach=measurement.Reach(0.4)).as_json(),
        measurement.ratio("beside", seconds, "excise", "p", peer=True).as_json(),
    ]
    for name in ("one.svg", "two.svg"):
        assert plots.plot_reaches(rows, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert plots.plot_peers(rows, tmp_path / "peers.svg") and "beside" in (tmp_path / "peers.svg").read_text()
    assert not plots.plot_reaches(rows[1:], tmp_path / "none.svg") and not (tmp_path / "none.svg").exists()


@pytest.mark.slow
def test_the_benchmarks_run_and_say_which_libraries_are_missing(alone, tmp_path, capsys):
    run = alone("run")
    assert run.main(["--tiny", "--threads=1", f"--folder={tmp_path}", "--only", *IN_PROCESS]) == 0
    data = json.loads((tmp_path / "results.json").read_text())
    assert list(data["benchmarks"]) == list(IN_PROCESS)
    missing = {
        row["against"]: row["note"] for s in data["benchmarks"].values() for row in s["rows"] if row["value"] is None
    }
    assert set(missing) == set(alone("harness.peers").MODULES)
    assert all("make bench" in why for why in missing.values())
    rows = [row for section in data["benchmarks"].values() for row in section["rows"] if row["value"] is not None]
    assert len(rows) >= 15 and all(row["value"] > 0 for row in rows)
    step = data["benchmarks"]["bottleneck_step"]["rows"][0]["settings"]
    assert step["tokens_of_same_codes"] == 1.0
    assert step["losses"]["excise"] == pytest.approx(step["losses"]["dense"], rel=1e-4)
    page = (tmp_path / "README.md").read_text()
    assert "these numbers say nothing" in page and "numbers-to-reach.svg" in page
    assert "not installed" in capsys.readouterr().out


def test_a_benchmark_that_fails_is_named_and_the_others_go_on(alone, tmp_path, capsys, monkeypatch):
    run, measurement = alone("run"), alone("harness.measurement")

    def fails(args):
        raise RuntimeError("broken")
        yield

    def works(args):
        yield measurement.seconds_row("x", [1.0])

    for name, measure in (("lookup", fails), ("undo", works)):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(BENCHMARK=measurement.Benchmark("About.", measure)))
    assert run.main(["--threads=1", f"--folder={tmp_path}", "--only", "lookup", "undo"]) == 1
    assert list(json.loads((tmp_path / "results.json").read_text())["benchmarks"]) == ["undo"]
    assert "Failed: lookup" in capsys.readouterr().err


def test_memory_is_measured_and_the_peers_are_named(alone, monkeypatch):
    memory = alone("lookup_memory")

    def child(args, what):
        return json.loads(json.dumps(memory.measure_here(argparse.Namespace(**vars(args) | {"child": what}))))

    monkeypatch.setattr(memory, "child", child)
    rows = list(memory.BENCHMARK.rows(["--tiny", "--threads=1"]))
    if not memory.PEAK.exists():
        assert "Linux" in rows[0].note
        return
    assert [row.unit for row in rows[:2]] == ["MB", "MB"] and all(row.passed for row in rows[:2])
    assert [row.against for row in rows[2:]] == ["vector-quantize-pytorch", "codebook-features"]


def test_undo_is_timed_in_processes_of_its_own(alone, monkeypatch):
    undo = alone("undo")  # the verb itself has its own tests; a process that imports it takes seconds
    monkeypatch.setattr(undo, "UNDO", "import os, sys; os.mkdir(sys.argv[-1]); assert os.path.isdir(sys.argv[2])")
    monkeypatch.setattr(undo, "LOAD", "import os, sys; assert os.path.isfile(sys.argv[1] + '/config.json')")
    (row,) = undo.BENCHMARK.rows(["--tiny", "--threads=1"])
    assert row.value > 0 and set(row.settings["processor_seconds"]) == {"excise", "transformers"}


def test_topic_sets_are_built_on_pairs_that_are_all_different(alone):
    topic_sets = alone("topic_sets")
    pairs = topic_sets.made_up_pairs(15_000, 0)["translation"]
    assert len({pair["en"] for pair in pairs}) == 15_000
    first, further = topic_sets.BENCHMARK.rows(["--tiny", "--threads=1"])
    assert "first word" in first.what and "further" in further.what


def test_the_index_is_measured_where_there_is_one(alone):
    rows = list(alone("code_index").BENCHMARK.rows(["--tiny", "--threads=1"]))
    assert len(rows) == 5 or "no `excise.codes.CodeIndex`" in rows[0].note


def test_the_demo_is_left_out_of_a_test(alone):
    (row,) = alone("demo").BENCHMARK.rows(["--tiny", "--threads=1"])
    assert row.value is None and "left out" in row.note


def test_the_check_for_a_gpu_runs_on_a_processor(alone, tmp_path, capsys):
    gpu = alone("gpu")
    results = gpu.main(["--device=cpu", "--tiny", f"--out={tmp_path / 'gpu.json'}"])
    assert json.loads((tmp_path / "gpu.json").read_text()) == json.loads(json.dumps(results))
    assert list(results["shapes"]) == ["a", "b", "c", "a whole model"] and not results["left_out"]
    for shape in "abc":
        for shares in results["shapes"][shape]["parity"].values():
            assert all(share["as_sets"] == 1.0 for share in shares.values())
    late = gpu.main(["--device=cpu", "--tiny", "--limit=0"])
    assert late["left_out"] == ["a", "b", "c", "a whole model"]


def test_the_peers_that_are_told_are_the_ones_that_are_installed(alone, root):
    listed = (root / "benchmarks" / "peers.txt").read_text() + (root / "Makefile").read_text()
    assert set(alone("harness.peers").MODULES) <= set(re.findall(r"([\w-]+)==", listed))


def test_pairs_of_many_classes_are_trained_forgotten_and_shared(alone):
    many_classes = alone("many_classes")
    rows = list(many_classes.measure(SimpleNamespace(**many_classes.TINY)))
    values = {row.what.partition(": ")[2]: row.value for row in rows}
    assert values["accuracy on 40 made-up test encodings"] > 60
    stages = [what for what in values if what.endswith("highest resident size") and values[what] is not None]
    assert len(stages) in (0, 5) and all(value > 0 for value in values.values() if value is not None)
    (forgotten,) = [row for row in rows if "by its counts" in row.what and row.unit == "s"]
    assert forgotten.settings == {"pairs": 8}
