"""Several processes: what they share gives the integers that one process alone gives."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from excise.data import batches
from tests.helpers import sharing_in_processes
from tests.helpers.sharing_in_processes import OPTIONS, WINDOW, count_until_killed, of, passes_of, t5, texts
from tests.helpers.two_processes import launched

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a spawned process would import everything again")

LOSSES = {"losses", "losses of a stream"}


def in_two_processes(root: Path, folder: Path, *mode: str) -> subprocess.CompletedProcess:
    if not mode:
        return launched("sharing_in_processes", folder)
    script = root / "tests" / "helpers" / "sharing_in_processes.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["--max-restarts", "1"] if mode == ("restarted",) else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, str(script), str(folder), *mode],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def killed_alone(tmp_path_factory) -> Path:
    """A folder in which a process alone was killed in the middle of a count."""
    folder = tmp_path_factory.mktemp("sharing")
    child = os.fork()
    if child == 0:
        try:
            count_until_killed(folder, at=4)
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    return folder


@pytest.fixture(scope="module")
def run(killed_alone, root) -> list[dict]:
    """What each of two processes has."""
    result = in_two_processes(root, killed_alone)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads((killed_alone / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """What one process has."""
    before, batches.WINDOW = batches.WINDOW, WINDOW
    try:
        return json.loads(
            json.dumps({name: call() for name, call in passes_of(tmp_path_factory.mktemp("one")).items()})
        )
    finally:
        batches.WINDOW = before


def test_there_are_two_processes_before_and_after_there_is_a_process_group(run, alone):
    for found in run:
        assert found["world"] == [2, 2]
        assert found["before a process group"] == alone["codes"]


@pytest.mark.parametrize("name", sorted(passes_of(Path())))
def test_two_processes_have_what_one_has(run, alone, name):
    assert run[0][name] == run[1][name]
    if name in LOSSES:
        assert run[0][name] == pytest.approx(alone[name], rel=1e-6)
    else:
        assert run[0][name] == alone[name]


def test_each_batch_is_run_once_by_one_of_them_and_each_has_a_part(run, alone):
    ran = [found["balanced"]["ran"] for found in run]
    assert all(ran) and sorted(ran[0] + ran[1]) == list(range(len(texts())))
    assert run[0]["balanced"]["counts"] == run[1]["balanced"]["counts"] == alone["codes"]
    assert sorted(run[0]["ran"]["codes"] + run[1]["ran"]["codes"]) == list(range(8))
    assert run[0]["ran"]["fewer rows than processes"] + run[1]["ran"]["fewer rows than processes"] == [0]


def test_two_processes_go_on_where_one_was_killed(run):
    assert sorted(run[0]["ran"]["checkpoint"] + run[1]["ran"]["checkpoint"]) == [3, 4, 5, 6, 7]


def test_what_only_one_process_finds_all_raise(run):
    for found in run:
        assert found["broken"].startswith("ValueError: Activations at encoder.block.1 are not finite")


def test_who_calls_alone_or_with_data_of_its_own_waits_for_nobody(run, alone):
    assert run[0]["alone"] == run[0]["then all"] == run[1]["then all"] == alone["codes"]
    assert [found["own"]["encoder.block.2 "][1] for found in run] == [12, 11]


def test_processes_that_have_split_a_stream_are_told(run):
    for found in run:
        assert found["own stream"].startswith("ValueError: Processes 0, 1 have read different rows in count_codes.")


@pytest.mark.slow
def test_a_count_in_which_one_of_two_was_killed_goes_on_in_one_and_in_two(tmp_path, root, alone):
    result = in_two_processes(root, tmp_path, "killed")
    assert result.returncode != 0 and "SIGKILL" in result.stderr
    assert len(list((tmp_path / "checkpoint").glob("*.safetensors"))) == 2
    counts, ran = sharing_in_processes.recorded(
        lambda: of(
            sharing_in_processes.count_codes(
                t5(), sharing_in_processes.tokenizer(), texts(), checkpoint=tmp_path / "checkpoint", **OPTIONS
            )
        )
    )
    assert counts == alone["codes"] and len(ran) == 4
    assert in_two_processes(root, tmp_path).returncode == 0
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0]["checkpoint"] == found[1]["checkpoint"] == alone["codes"]
    assert not found[0]["ran"]["checkpoint"] + found[1]["ran"]["checkpoint"]


@pytest.mark.slow
def test_a_run_that_its_launcher_starts_anew_goes_on_and_takes_nothing_of_the_attempt_before(tmp_path, root, alone):
    result = in_two_processes(root, tmp_path, "restarted")
    assert result.returncode == 0, result.stderr[-3000:]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [(each["world"], each["attempt"]) for each in found] == [(2, "1")] * 2
    assert found[0]["counts"] == found[1]["counts"] == alone["codes"]
    assert len(found[0]["ran"] + found[1]["ran"]) == 4
