"""Run in a process of its own: everything that writes, in children that are killed at many points.

Arguments: a folder, a seed, the ways to kill, and how often each writer is killed, as `name=number`. What each child
left goes into `result.json`. Everything is imported and made once; a child is a fork, so that a kill costs no more than
the writing that it cuts short. A child is killed in one of these ways, in turn:

call
    Before a random call that opens, makes, renames or removes something: the same call for the same seed.
byte
    When a file is about to grow beyond a random size, in the middle of what is written, in C and in Rust too.
time
    After a random time.
"""

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers.utils import logging

from tests.helpers.writers import Writer, tree, writers

CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.utime", "os.symlink", "os.link"}
CALLS |= {"os.truncate", "shutil.rmtree", "shutil.copyfile", "shutil.move"}


def main(folder: Path, seed: int, ways: list[str], kills: dict[str, int]) -> None:
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    tqdm.set_lock(threading.RLock())  # its own is shared by forks, and stays locked when one is killed with it
    known = writers(folder / "made")
    killed = {name: kill(known[name], folder / name, number, seed, ways) for name, number in kills.items()}
    # Only now, so that no child inherits the threads of what reads.
    result = {name: looked_at(known[name], folder / name, rows) for name, rows in killed.items()}
    (folder / "result.json").write_text(json.dumps(result))


def kill(writer: Writer, folder: Path, kills: int, seed: int, ways: list[str]) -> list[dict[str, Any]]:
    """Kills a writer in children, each at a place of its own; tells how each ended and what had been there."""
    rng = random.Random(seed)
    whole = [folder / "whole" / str(version) / writer.name for version in (0, 1)]
    calls, seconds = min(counted(writer, path, version) for version, path in enumerate(whole))
    largest = max(file.stat().st_size for file in (folder / "whole").rglob("*") if file.is_file())
    rows: list[dict[str, Any]] = []
    while sum(row["killed"] for row in rows) < kills and len(rows) < 6 * kills:
        way = ways[len(rows) % len(ways)]
        path = folder / str(len(rows)) / writer.name
        old = writer.replaces and (len(rows) // len(ways)) % 2 == 0  # every other time in place of an old one
        prepare(writer, path)
        if old:
            ended(partial(writer.write, path, 0))
        old = old or writer.beside is not None
        at = {"call": rng.randrange(calls), "byte": rng.randrange(largest), "time": rng.uniform(0, seconds)}[way]
        status = ended(partial(writer.write, path, 1), way, at)
        rows.append({"path": str(path), "killed": status < 0, "status": status, "old": old, "way": way, "at": at})
    # Once more where a child has been killed: what it left beside it is gone then.
    path = folder / "again" / writer.name
    prepare(writer, path)
    statuses = [ended(partial(writer.write, path, 1), "call", calls // 2), ended(partial(writer.write, path, 1))]
    return [*rows, {"path": str(path), "killed": False, "statuses": statuses, "way": "again"}]


def prepare(writer: Writer, path: Path) -> None:
    path.parent.mkdir(parents=True)
    if writer.beside:
        writer.beside(path)


def counted(writer: Writer, path: Path, version: int) -> tuple[int, float]:
    """Writes without a kill; gives the number of calls and the time that it took."""
    prepare(writer, path)
    read, write = os.pipe()
    started = time.monotonic()
    status = ended(partial(writer.write, path, version), "count", write)
    seconds = time.monotonic() - started
    os.close(write)
    if status:
        raise RuntimeError(f"a child failed: {status}, {path}")
    with os.fdopen(read) as pipe:
        return int(pipe.read()), seconds


def ended(call: Callable[[], Any], way: str = "", at: Any = None) -> int:
    """How a child ends that makes a call: its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.environ.get("KILLED_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        faulthandler.dump_traceback_later(60, exit=True)  # where it hangs, if it hangs
        signal.alarm(70)
        status = 1
        try:
            count = watch(at if way == "call" else None)
            if way == "byte":
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (at, at))
            call()
            if way == "count":
                os.write(at, str(count[0]).encode())
            status = 0
        finally:
            os._exit(status)
    if way == "time":
        time.sleep(at)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGALRM:
        raise RuntimeError("a child hangs")
    return status


def watch(die_at: int | None) -> list[int]:
    """Counts the calls of this process that change a file system, and kills it before one."""
    count = [0]

    def hook(event: str, args: tuple) -> None:
        if event not in CALLS or (event == "open" and not is_writing(args)):
            return
        if count[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count[0] += 1

    sys.addaudithook(hook)
    return count


def is_writing(args: tuple) -> bool:
    _, mode, flags = args
    return any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))


def looked_at(writer: Writer, folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What each child left, as a reader finds it: nothing, the old version, the new one, or something broken."""
    whole = [folder / "whole" / str(version) / writer.name for version in (0, 1)]
    values = {version: value(writer, path) for version, path in enumerate(whole)}
    values |= {version: str(known) for version, known in writer.values.items()}
    for row in rows:
        path = Path(row["path"])
        row["tree"] = tree(path) if path.is_dir() else None
        row["hidden"] = [other.name for other in path.parent.iterdir() if other.name.startswith(".")]
        row["left"] = left(writer, path, values) if os.path.lexists(path) else "nothing"
    return {"rows": rows, "whole": tree(whole[0]) if whole[0].is_dir() else None}


def left(writer: Writer, path: Path, values: dict[int, Any]) -> str:
    try:
        found = value(writer, path)
    except Exception as error:
        return f"broken: {type(error).__name__}: {error}"
    return {values[0]: "old", values[1]: "new"}.get(found, f"another: {found}")


def value(writer: Writer, path: Path) -> Any:
    """What a reader finds, of a copy: some go on with what they find."""
    copy = path.with_name(f"copy of {path.name}")
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        shutil.copyfile(path, copy)
    try:
        found = writer.read(copy)
        return str(found)
    finally:
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()


if __name__ == "__main__":
    numbers = dict(argument.split("=") for argument in sys.argv[4:])
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), {name: int(n) for name, n in numbers.items()})
