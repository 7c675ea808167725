"""Run in a process of its own: looks for erased rows in every kind of hostile file, and measures what each takes.

Arguments: a folder, where the results go, and the kinds. A kind's result is written before the next begins, so that it
is known which one has ended the process.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from excise.bottlenecks.site import bottlenecks
from excise.sharing.erasure import ErasedRows
from tests.helpers.hostile_files import KINDS
from tests.helpers.tiny import SITE, codebook_t5


def main(folder: Path, out: Path, names: list[str]) -> None:
    torch.manual_seed(0)
    model = codebook_t5(num_codes=40, code_dim=64)
    erased = ErasedRows.of(model, {SITE: [1, 2, 7]})
    row = bottlenecks(model)[SITE].codebook[2].detach().numpy().tobytes()
    (folder / "first").write_bytes(row)
    erased.find_in(folder)
    with open(out, "w") as results:
        for name in names:
            (folder / name).mkdir()
            KINDS[name](folder / name, row)
            before, started = memory("self", "VmRSS"), cpu_seconds()
            Path("/proc/self/clear_refs").write_text("5")  # the most memory is measured anew
            with watched_children() as children:
                left = erased.find_in(folder / name)
            result = {
                "seconds": cpu_seconds() - started,
                "bytes": max(memory("self", "VmHWM") - before, *children),
                "unread": [str(leftover) for leftover in left if not leftover.site],
                "rows": [str(leftover) for leftover in left if leftover.site],
                "ran": (folder / name / "ran").exists(),
            }
            print(json.dumps([name, result]), file=results, flush=True)


def memory(process: str, name: str) -> int:
    """Bytes of a process's memory, by its name in the system's account."""
    for line in Path("/proc", process, "status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    return 0


def cpu_seconds() -> float:
    """What this process and those that it waited for have computed: others on the machine do not count."""
    return sum(os.times()[:4])


@contextmanager
def watched_children() -> Iterator[list[int]]:
    """The most memory that processes of this one take while this goes on, one number for each look."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            for children in Path("/proc/self/task").glob("*/children"):
                with suppress(OSError):
                    most.extend(memory(child, "VmHWM") for child in children.read_text().split())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
