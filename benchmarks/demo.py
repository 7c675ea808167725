"""How long `excise demo` takes on one core, from its start to its table.

python benchmarks/demo.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.measurement import Benchmark, Reach, missing, seconds_row

RUN = "import sys; from excise.cli import main; sys.exit(main(sys.argv[1:]))"


def arguments(parser):
    parser.add_argument("--skip", action="store_true", help="say that it was left out")


TINY = {"skip": True}


def on_one_core():
    """Keeps a process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])


def measure(args):
    title = "`excise demo`, one core"
    if args.skip:
        yield missing(title, None, "left out: it trains a model, which has no tiny size")
        return
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-c", RUN, "demo", "--out", str(Path(name) / "demo"), "--json", "--quiet"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        started = time.perf_counter()
        result = subprocess.run(command, env=environment, preexec_fn=on_one_core, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if result.returncode not in (0, 1):
        yield missing(title, None, f"it ended with {result.returncode}: {result.stderr.strip()[-300:]}")
        return
    note = "within its bounds" if result.returncode == 0 else "it missed its bounds"
    shown = json.loads(result.stdout)
    settings = {"steps": shown["seconds"], "scores": shown["scores"]}
    yield seconds_row(title, [seconds], reach=Reach(90.0), settings=settings, note=note)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
