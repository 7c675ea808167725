"""A script in two processes, as `torchrun` starts them, but as forks of one that has imported what the script needs.

Arguments: the name of the script's module, and its own arguments. That saves the time in which the launcher and each of
the two would import torch and transformers; what restarts or is killed by a launcher is launched by `torchrun` itself.
"""

import importlib
import os
import runpy
import signal
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def launched(module: str, *arguments: object, timeout: int = 300, **environment: str) -> subprocess.CompletedProcess:
    """What came of a script of `tests.helpers` that ran in two processes."""
    paths = os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, sys.path)]))
    return subprocess.run(
        [sys.executable, "-m", "tests.helpers.two_processes", f"tests.helpers.{module}", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def main(name: str, arguments: list[str]) -> int:
    """Starts both, and ends both when one fails; gives the exit status of that one, or 0."""
    module = importlib.import_module(name)
    from torch.distributed import TCPStore

    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False, timeout=timedelta(minutes=5))
    children = {start(rank, store.port, str(module.__file__), arguments) for rank in (0, 1)}
    failed = 0
    while children:
        child, status = os.wait()
        children.discard(child)
        if code := os.waitstatus_to_exitcode(status):
            failed = failed or code
            for other in children:
                os.kill(other, signal.SIGTERM)
    return failed


def start(rank: int, port: int, script: str, arguments: list[str]) -> int:
    """Starts one of the two, with what `torchrun` tells it; gives its process id."""
    child = os.fork()
    if child:
        return child
    number = str(rank)
    os.environ |= {
        **{"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"},
        **{"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"},
        **{"TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "0", "TORCHELASTIC_RUN_ID": "none"},
    }
    status = 1
    try:
        sys.argv = [script, *arguments]
        runpy.run_path(script, run_name="__main__")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
