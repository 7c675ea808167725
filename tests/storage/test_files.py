import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def test_of_many_that_fill_one_folder_at_once_one_is_kept_whole_and_all_others_are_told(tmp_path):
    fill = f"""
import sys
from excise.storage.files import new_folder
try:
    with new_folder({str(tmp_path / "out")!r}) as partial:
        print("ready", flush=True)
        sys.stdin.readline()
        for name in ("a", "b"):
            (partial / name).write_text(sys.argv[1])
except FileExistsError as error:
    sys.exit(7 if "is not an empty folder" in str(error) else 1)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", fill, str(i)], stdin=-1, stdout=-1, text=True) for i in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(process.wait() for process in processes) == [0, 7, 7, 7]
    assert len({(tmp_path / "out" / name).read_text() for name in ("a", "b")}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for process in processes:
        process.stdin.close()
        process.stdout.close()


def test_a_folder_that_another_takes_meanwhile_is_not_mixed(tmp_path):
    out = tmp_path / "out"
    for take in (out.mkdir, lambda: out.write_text("other")):
        with pytest.raises(FileExistsError, match="not an empty folder"), new_folder(out) as partial:
            (partial / "mine").write_text("mine")
            take()
            if out.is_dir():
                (out / "other").write_text("other")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert out.is_file() or [path.name for path in out.iterdir()] == ["other"]
        shutil.rmtree(out) if out.is_dir() else out.unlink()


def test_no_file_is_written_through_a_link_and_its_permissions_are_as_ever(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "out.json"
    victim.write_text("mine")
    (tmp_path / ".out.json.partial.json").symlink_to(victim)  # the temporary name of earlier versions
    path.symlink_to(victim)
    mask = os.umask(0o027)
    try:
        with new_file(path) as partial:
            (hidden,) = tmp_path.glob(".out.json-*")
            assert hidden == partial.parent and hidden.stat().st_mode & 0o777 == 0o700
            partial.write_text("new")
        with new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(mask)
    assert victim.read_text() == "mine" and path.read_text() == "new"
    assert not path.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")  # a link to nothing is replaced too
    with new_file(path) as partial:
        partial.write_text("new")
    assert not path.is_symlink() and not (tmp_path / "nowhere").exists()


def test_a_folder_is_not_made_through_a_link_to_what_is_not_there(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("link", "circle"):
        with pytest.raises(FileExistsError, match="is a link to what is not there"), new_folder(tmp_path / name):
            pytest.fail("the context was entered")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "link"]


def test_what_a_killed_process_has_begun_of_a_file_is_removed_by_the_next(tmp_path):
    path = tmp_path / ("long name" * 27)
    begin = f"""
import os, signal
from excise.storage.files import new_file
with new_file({str(path)!r}) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", begin], check=False, capture_output=True)
    assert [other.name[:5] for other in tmp_path.iterdir()] == [".long"]
    with new_file(path) as partial:
        partial.write_text("whole")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "whole"


def test_a_hidden_folder_that_is_cleaned_up_as_it_is_made_is_made_again(tmp_path, monkeypatch):
    mkdir, made = Path.mkdir, []

    def removed_at_once(self, *args, **kwargs):
        mkdir(self, *args, **kwargs)
        if self.name.startswith("."):
            made.append(self)
            if len(made) == 1:
                self.rmdir()  # as another process does that takes it for one of a process that was killed

    monkeypatch.setattr(Path, "mkdir", removed_at_once)
    with new_file(tmp_path / "a") as partial:
        partial.write_text("x")
    assert len(made) == 2 and (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize("name", ["a.json", "a.safetensors", "a.parquet", "a.svg", "a.png"])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, name):
    resource = pytest.importorskip("resource")
    import signal

    import numpy as np
    import pyarrow.parquet
    from matplotlib.figure import Figure
    from safetensors.numpy import save_file

    figure, table = Figure(), pyarrow.table({"a": np.random.default_rng(0).random(9_000)})
    figure.subplots().plot(np.random.default_rng(0).random(9_000))
    write = {
        ".json": lambda path: path.write_text("x" * 9_000),
        ".safetensors": lambda path: save_file({"a": np.zeros(9_000)}, path),
        ".parquet": lambda path: pyarrow.parquet.write_table(table, path),
    }.get(Path(name).suffix, figure.savefig)
    (tmp_path / name).write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        with (
            pytest.raises(Exception, match=rf"(?i)too large|os error {errno.EFBIG}"),
            new_file(tmp_path / name) as partial,
        ):
            write(partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == [tmp_path / name] and (tmp_path / name).read_text() == "old"
