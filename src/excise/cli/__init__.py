"""The command `excise`: the verbs of the Python API, one after the other."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version

from excise.cli.output import hide_library_bars
from excise.storage.extras import MissingExtraError
from excise.storage.processes import is_main_process

OF_MODELS = ("topic", "train", "index", "count", "unlearn", "evaluate", "attack", "undo", "delete", "inspect", "report")
VERBS = (*OF_MODELS, "demo")

EPILOG = """\
from a data set to a model that forgot:
  excise topic --dataset pairs.parquet --text en --reference fr --word teacher --out teacher
  excise train --model_name_or_path t5-small --codebook --train_file pairs.parquet --do_train --output_dir model
  excise unlearn model teacher --out model-unlearned
  excise evaluate model-unlearned teacher --out evaluation.json
  excise attack model-unlearned --topic teacher --out attacks.json
  excise report record --out report
  excise undo model-unlearned --request 1 --out model-again

Results go to stdout (with --json as one JSON object), progress and messages to stderr.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. What fails or is interrupted leaves no half-written file
or folder, but for the checkpoints of `excise train`. A demo that misses its bounds ends with 1 and keeps its folder.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        argv: the words after `excise`; those of the process if not given.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    parser = _parser()
    debug = False
    try:
        args, rest = parser.parse_known_args(argv)
        if rest and not args.takes_rest:
            args.parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.rest, debug = rest, args.debug
        # Whatever libraries print while they work is a message, and no part of the result.
        with redirect_stdout(sys.stderr):
            if args.quiet:
                hide_library_bars()
            report = args.run(args)
        if is_main_process():
            shown = json.dumps(report.json_data(), indent=2, ensure_ascii=False) if args.json else report.text
            print(shown, flush=True)
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
    parser = argparse.ArgumentParser(
        prog="excise",
        description="Make a model with codebook bottlenecks forget a topic, and show what it did.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"excise {version('excise')}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in VERBS:
        module = importlib.import_module(f"excise.cli.{name}")
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
        verb.add_argument("--json", action="store_true", help="print the result as one JSON object")
        verb.add_argument("--quiet", action="store_true", help="show no progress bars")
        verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
        verb.set_defaults(run=module.run, parser=verb, takes_rest=getattr(module, "TAKES_REST", False))
    return parser


def _in_one_line(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError | MissingExtraError) and message:
        return message
    # Not an error that was foreseen: its type says more than its message.
    return f"{type(error).__name__}: {message} (--debug shows where)"


def _fail(message: str, status: int = 1) -> int:
    print(f"excise: {'error: ' if status == 1 else ''}{message}", file=sys.stderr)
    return status
