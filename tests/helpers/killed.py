"""Run in a process of its own: saves bundles in children that are killed at random points.

Arguments: a folder, the number of kills, and a seed. What each child left goes into `result.json`. Everything is
imported and the model is made once; a child is a fork, so that a kill costs no more than the saving that it cuts short.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from transformers.utils import logging

from tests.sharing.bundle.conftest import make_case


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    logging.disable_progress_bar()  # its lock is shared by forks, and stays locked when one is killed with it
    unlearner, rng = make_case("t5", folder / "base").unlearner, random.Random(seed)
    times = [save(unlearner, folder / f"whole-{i}", None)[1] for i in range(2)]
    lasted, results = min(times), []
    while sum(result["killed"] for result in results) < kills and len(results) < 4 * kills:
        out = folder / "kills" / str(len(results))
        killed, _ = save(unlearner, out, rng.uniform(0, lasted))
        results.append({"killed": killed, "there": out.exists(), "out": str(out)})
    # Once more where children have been killed: what they left beside it is gone then.
    again = next(Path(result["out"]) for result in results if not result["there"])
    save(unlearner, again, None)
    left = [path.name for path in again.parent.iterdir() if path.name.startswith(".")]
    result = {"results": results, "again": str(again), "left": left}
    (folder / "result.json").write_text(json.dumps(result))


def save(unlearner, out: Path, delay: float | None) -> tuple[bool, float]:
    """Saves in a child, kills it after a while, and tells whether the kill came before its end, and how long it ran."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        status = 1
        try:
            unlearner.save_bundle(out, remote_code=False)
            status = 0
        finally:
            os._exit(status)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise RuntimeError("a child failed")
    return os.WIFSIGNALED(status), time.monotonic() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
