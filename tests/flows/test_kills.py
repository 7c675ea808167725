"""Kills at whatever point: what is written is whole, or as it was before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from excise.sharing.bundle import check_bundle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks")

# How often each is killed in every run of the suite; the others, and these again, in `make test-slow`.
SHORT = {"bundle": 10, "checkpoint": 2, "remote code": 2, "evaluation": 2, "topic counts": 2, "training": 2}
LONG = 12
WRITERS = ("checkpoint", "compacted", "adapter", "bundle", "remote code", "record", "report", "evaluation", "frontier")
WRITERS += ("sweep", "enrichment", "volcano", "frontier figure", "sweep figure", "selection", "sheet", "code counts")
WRITERS += ("paired counts", "topic counts", "pair counts", "topic sets", "encodings", "keys", "training")


def killed(folder: Path, root: Path, kills: dict[str, int], seed: int, timeout: int) -> dict:
    """What was found after writers were killed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    arguments = [str(folder), str(seed), "call,byte,time", *(f"{name}={number}" for name, number in kills.items())]
    command = [sys.executable, "-m", "tests.helpers.killed", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, timeout=timeout)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def short(tmp_path_factory, root):
    return killed(tmp_path_factory.mktemp("short"), root, SHORT, seed=0, timeout=300)


@pytest.fixture(scope="module")
def long(tmp_path_factory, root):
    return killed(tmp_path_factory.mktemp("long"), root, dict.fromkeys(WRITERS, LONG), seed=1, timeout=1800)


def assert_whole(found: dict, kills: int) -> None:
    *rows, again = found["rows"]
    assert sum(row["killed"] for row in rows) >= kills
    for row in rows:
        assert row["left"] in (["old", "new"] if row["old"] else ["nothing", "new"]), row
        assert row["killed"] or (row["status"] == 0 and row["left"] in ("new", "old")), row
    # Once more where a child was killed, it is written, and what the other left is gone.
    assert again["statuses"][1] == 0 and again["left"] in ("new", "old") and again["hidden"] == []


@pytest.mark.parametrize("name", SHORT)
def test_wherever_a_writer_is_killed_there_is_nothing_or_the_old_or_the_new(short, name):
    assert_whole(short[name], SHORT[name])


def test_wherever_a_save_is_killed_the_bundle_is_whole_or_not_there(short):
    whole, (*rows, again) = short["bundle"]["whole"], short["bundle"]["rows"]
    assert sum(row["killed"] for row in rows) == SHORT["bundle"]
    for row in rows:
        there = Path(row["path"]).exists()
        assert there or row["killed"]
        if there:
            assert row["tree"] == whole
            check_bundle(row["path"])
    assert again["tree"] == whole and again["hidden"] == []
    hidden = [Path(row["path"]).parent / name for row in rows for name in row["hidden"]]
    assert hidden  # these remain hidden, and no one takes one for a bundle
    with pytest.raises(ValueError, match="no bundle"):
        check_bundle(hidden[0].parent)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", WRITERS)
def test_the_same_at_many_points(long, name):
    assert_whole(long[name], LONG)
    assert long.keys() == set(WRITERS)
