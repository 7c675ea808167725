"""Forks of a Python that has imported what takes long: what runs in one has a process of its own without that time.

Run as a module it is that Python. Arguments: modules that it is not to find, with commas between them, and modules that
it imports. It reads a job a line, and writes how each ended.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]


class Forks:
    """A Python that runs code in forks of itself, one after the other.

    Args:
        imported: modules that it has imported before.
        blocked: packages that are not to be found there.
    """

    def __init__(self, imported: list[str], blocked: list[str] | None = None):
        paths = os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, sys.path)]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.forks", ",".join(blocked or []), *imported],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT},
            env=os.environ | {"PYTHONPATH": paths},
        )

    def run(self, code: str, *arguments: object) -> CompletedProcess:
        """Runs code as `python -c` does, and gives its exit status and what it has printed."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            job = {"code": code, "arguments": list(map(str, arguments)), "folder": folder}
            print(json.dumps(job), file=stdin, flush=True)
            status = int(stdout.readline())
            printed = [Path(folder, name).read_text(encoding="utf-8") for name in ("out", "err")]
        return CompletedProcess(job["arguments"], status, *printed)

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.communicate()  # which closes its input, and so ends it


class Block:
    """Finds none of some packages, wherever and however they are installed."""

    def __init__(self, blocked: list[str]):
        self.blocked = blocked

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(blocked: list[str], imported: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    sys.meta_path.insert(0, Block(blocked))  # type: ignore[arg-type]
    os.dup2(2, 1)
    for module in imported:
        importlib.import_module(module)
    for line in sys.stdin:
        print(in_fork(**json.loads(line)), file=answers, flush=True)


def in_fork(code: str, arguments: list[str], folder: str) -> int:
    """How a fork ends that runs code: its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["-c", *arguments]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
