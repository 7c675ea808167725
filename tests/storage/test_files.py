import subprocess
import sys

import pytest

from excise.storage.files import check_free, new_file, new_folder


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a" / "out") as partial:
        (partial / "half").write_text("x")
        raise KeyboardInterrupt
    assert list((tmp_path / "a").iterdir()) == []
    with new_folder(tmp_path / "a" / "out") as partial:
        (partial / "whole").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert [path.name for path in (tmp_path / "a" / "out").iterdir()] == ["whole"]


@pytest.mark.parametrize("there", ["file", "full folder"])
def test_what_is_there_is_not_written_over(tmp_path, there):
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"), new_folder(out):
        pytest.fail("the context was entered")


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as partial:
        (partial / "x").write_text("x")
    assert (tmp_path / "out" / "x").exists()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), new_file(path) as partial:
        partial.write_text("ha")
        raise OSError("full")
    assert path.read_text() == "old"
    with new_file(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_replaced_or_made_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FileExistsError, match="Give a new folder inside it"):
        check_free(".")
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="no folder that can be written to"):
        check_free(tmp_path / "file" / "deep" / "out")


def test_an_empty_folder_behind_a_link_may_be_filled(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with new_folder(tmp_path / "link") as partial:
        (partial / "x").write_text("x")
    assert (tmp_path / "real" / "x").exists()


def test_what_a_killed_process_has_begun_is_removed_and_what_another_is_writing_is_not(tmp_path):
    out = tmp_path / "out [1]"
    begin = f"""
import os, pathlib, signal, sys
from excise.storage.files import new_folder
with new_folder({str(out)!r}) as partial:
    (partial / "half").write_text("x")
    print(partial.name, flush=True)
    sys.stdin.read() if sys.argv[1] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", begin, "die"], check=False, capture_output=True)
    (abandoned,) = tmp_path.iterdir()
    others = tmp_path / f".out [1]-{'0' * 31}", tmp_path / f".out 1-{'0' * 32}"
    for other in others:
        other.mkdir()
    with subprocess.Popen([sys.executable, "-c", begin, "wait"], stdin=-1, stdout=-1, text=True) as process:
        alive = tmp_path / process.stdout.readline().strip()
        assert not abandoned.exists()
        with new_folder(out) as partial:
            assert set(tmp_path.iterdir()) == {alive, partial, *others}
        process.kill()
    assert set(tmp_path.iterdir()) == {alive, out, *others}
