"""The command `excise`: the verbs of the Python API, one after the other."""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from importlib.metadata import version

from excise.cli.output import Output, hide_library_bars
from excise.cli.parser import Parser, VerbsFormatter, add_common, unrecognized
from excise.storage.extras import MissingExtraError
from excise.storage.processes import is_main_process

# In the order of the work; `-` stands for `_` in the name of the module.
VERBS = (
    *("topic", "train", "classes", "train-classifier"),
    *("index", "count", "unlearn", "evaluate", "attack", "delete", "undo", "inspect"),
    *("report", "bundle", "push", "audit", "demo"),
)

EPILOG = """\
from a data set to a model that forgot:
  excise topic --dataset excise:demo --evaluation-split test --text en --reference fr --word book --out book
  excise train --model_name_or_path t5-small --codebook --dataset_name excise:demo --do_train --output_dir model
  excise unlearn model book --out model-unlearned
  excise attack model-unlearned --topic book --out attacks.json
  excise evaluate model-unlearned book --out evaluation.json --attacks attacks.json --record record
  excise report record --out report
  excise bundle model-unlearned --record record --out bundle
  excise undo model-unlearned --request 1 --out model-again
the same for a class of images:
  excise classes --dataset images --class cat --out cat
  excise train-classifier --model_name_or_path encoder --dataset_name images --output_dir classifier
  excise unlearn classifier cat --out classifier-unlearned

Results go to stdout (with --json as one JSON object), progress and messages to stderr.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. What fails or is interrupted leaves no half-written file
or folder, but for the checkpoints of a training. A demo that misses its bounds ends with 1 and keeps its folder, and an
audit that finds something ends with 1. EXCISE_DEBUG=1 is --debug for every verb.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        argv: the words after `excise`; those of the process if not given.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    debug = os.environ.get("EXCISE_DEBUG", "") not in ("", "0")
    try:
        try:
            args, rest = _parser().parse_known_args(argv)
            if rest and not args.takes_rest:
                args.parser.error(unrecognized(rest, args.parser))
        finally:
            _flush()  # help, of which the reader may have had enough
        args.rest, debug = rest, debug or args.debug
        # Whatever libraries print while they work is a message, and no part of the result.
        with redirect_stdout(sys.stderr):
            if args.quiet:
                hide_library_bars()
            report: Output = args.run(args)
        if is_main_process():
            data = json.dumps(report.json_data(), indent=2, ensure_ascii=False) if args.json else report.text
            _flush(data + "\n")
    except SystemExit as stop:  # argparse, after --help or wrong usage
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if debug:
            raise
        return _fail(_in_one_line(error))
    return _fail("; ".join(report.problems)) if report.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="excise",
        description="Make a model with codebook bottlenecks forget a topic, and show what it did.",
        epilog=EPILOG,
        formatter_class=VerbsFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"excise {version('excise')}")
    verbs = parser.add_subparsers(title="verbs, in the order of the work", metavar="VERB", required=True)
    for name in VERBS:
        module = importlib.import_module(f"excise.cli.{name.replace('-', '_')}")
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            conflict_handler="resolve",
        )
        module.add_arguments(verb)
        add_common(verb)
        takes_rest = getattr(module, "TAKES_REST", False)
        verb.set_defaults(run=module.run, parser=verb, takes_rest=takes_rest)
        if takes_rest:  # which has a seed of its own
            verb.set_defaults(seed=None)
    return parser


def _flush(text: str = "") -> None:
    """Writes to stdout, which a reader such as `head` may have closed: that is no error of the verb."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, rather than into a message of Python's when it ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_one_line(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError | MissingExtraError) and message:
        return message
    # Not an error that was foreseen: its type says more than its message.
    return f"{type(error).__name__}: {message} (--debug shows where)"


def _fail(message: str, status: int = 1) -> int:
    with suppress(BrokenPipeError):
        print(f"excise: {'error: ' if status == 1 else ''}{message}", file=sys.stderr, flush=True)
    return status
