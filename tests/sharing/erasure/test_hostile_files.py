"""Whatever a file does to who reads it, the search goes on, takes little, and says which file it could not read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.hostile.kinds import CLEAN
from tests.helpers.hostile_files import BOTH, KINDS, LARGE, ROWS, UNREAD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux accounts for it")
ROOT = Path(__file__).resolve().parents[3]


def searched(folder: Path, kinds: list[str]) -> dict[str, dict]:
    """What the search in a process of its own found and took, by kind; none of those after one that ended it."""
    (folder / "files").mkdir()
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    command = [sys.executable, "-m", "tests.helpers.hostile_search", folder / "files", folder / "results", *kinds]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=False, timeout=280)
    return dict(json.loads(line) for line in (folder / "results").read_text().splitlines())


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, dict]:
    return searched(tmp_path_factory.mktemp("hostile"), [kind for kind in KINDS if kind not in LARGE])


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> dict[str, dict]:
    return searched(tmp_path_factory.mktemp("large"), list(LARGE))


def check(kind: str, results: dict[str, dict]) -> None:
    assert kind in results, "the process has ended"
    result = results[kind]
    assert bool(result["unread"]) == (kind in UNREAD or kind in BOTH), result
    assert bool(result["rows"]) == (kind in ROWS or kind in BOTH), result
    assert all("could not be read" in line for line in result["unread"])
    assert all(line.isprintable() and len(line) <= 500 for line in result["unread"] + result["rows"])
    assert result["bytes"] < 1 << 30 and result["seconds"] < 10
    assert not result["ran"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LARGE])
def test_a_hostile_file_stops_nothing_and_is_told(small, kind):
    check(kind, small)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_hostile_file_stops_nothing_and_is_told(large, kind):
    check(kind, large)


def test_the_kinds_are_many_and_each_is_expected_to_be_one_thing():
    assert len(KINDS) >= 40
    kinds = [name for of in (UNREAD, ROWS, BOTH, CLEAN) for name in of]
    assert len(kinds) == len(set(kinds)) and set(LARGE) < set(kinds)
