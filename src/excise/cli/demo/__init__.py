"""Train a small model from nothing on sentences that excise carries, make it forget a topic, and show what happened.

Takes about 90 seconds on one core and needs no network. Fails if the topic is not gone or the rest did not stay.
"""

import itertools
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from excise.cli.output import Output, hide_library_bars
from excise.cli.train.options import see_only
from excise.storage.extras import require
from excise.storage.files import check_free

HELP = "train, forget and show it, in 90 seconds"
EXAMPLES = """\
  excise demo
  excise demo --out demo --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    parser.add_argument("--out", metavar="FOLDER", help="new or empty (default: excise-demo, or -2, -3 and so on)")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    require("text", "report", purpose="excise demo")
    # Read when torch is loaded. So small a model gains little by a second thread (0.10 s a step for 0.12) and loses
    # much where a core is taken. With one, results do not depend on the number of cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    if args.device is not None:
        see_only(args.device)

    from transformers.utils import logging

    from excise.cli.demo.running import RECIPE, run_demo

    # Small things, loaded and saved at once: bars of these and notes on them would hide what the demo says.
    hide_library_bars()
    logging.set_verbosity_error()

    out = args.out or next(name for name in _names() if not Path(name).exists())
    check_free(out)
    recipe = replace(RECIPE, seed=args.seed)
    result = run_demo(out, recipe=recipe, progress=not args.quiet, say=lambda line: print(line, file=sys.stderr))
    return Output(result.text, result.data, result.problems)


def _names() -> Iterator[str]:
    yield "excise-demo"
    yield from (f"excise-demo-{i}" for i in itertools.count(2))
