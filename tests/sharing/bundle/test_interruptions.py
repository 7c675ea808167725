"""Kills and full disks: a bundle is whole or not there."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from excise import Unlearner
from excise.sharing.bundle import check_bundle
from tests.sharing.bundle.test_bundle import assert_untouched, everything, tree

KILLS = 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks")
def test_wherever_a_save_is_killed_the_bundle_is_whole_or_not_there(tmp_path, root):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    command = [sys.executable, "-m", "tests.helpers.killed", str(tmp_path), str(KILLS), "0"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads((tmp_path / "result.json").read_text())
    whole = tree(tmp_path / "whole-0")
    assert sum(result["killed"] for result in found["results"]) == KILLS
    for result in found["results"]:
        assert result["there"] or result["killed"]
        if result["there"]:
            assert tree(Path(result["out"])) == whole
            check_bundle(result["out"])
    assert tree(Path(found["again"])) == whole
    assert not any(name.startswith(f".{Path(found['again']).name}-") for name in found["left"])
    assert found["left"]  # the others' remain hidden, and no one takes one for a bundle
    with pytest.raises(ValueError, match="no bundle"):
        check_bundle(tmp_path / "kills")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_a_full_disk_leaves_nothing(t5_case, tmp_path, share, monkeypatch):
    # A limit on a file's size fails as a full disk does, in whatever writes it, in C and in Rust too.
    resource = pytest.importorskip("resource")
    import signal

    before = everything(t5_case.unlearner)
    t5_case.unlearner.save_bundle(tmp_path / "whole")
    sizes = sorted({len(data) for data in tree(tmp_path / "whole").values()})
    limit = sizes[int(share * len(sizes))] - 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(Exception, match=rf"(?i)too large|os error {errno.EFBIG}"):
            t5_case.unlearner.save_bundle(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert_untouched(t5_case.unlearner, before)
    t5_case.unlearner.save_bundle(tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    Unlearner.from_pretrained(tmp_path / "out")
