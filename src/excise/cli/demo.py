"""Train a small model from nothing on sentences that excise carries, make it forget a topic, and show what happened.

Takes about two minutes on two cores and needs no network. Fails if the topic is not gone or the rest did not stay.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.options import refuse_used
from excise.cli.report import Report

HELP = "train, forget and show it, in two minutes"
EXAMPLES = """\
  excise demo
  excise demo --out demo --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FOLDER", default="excise-demo", help="new or empty folder (default: excise-demo)")


def run(args: Namespace) -> Report:
    from excise.demo import run_demo

    refuse_used(args.out)
    result = run_demo(args.out, progress=not args.quiet)
    return Report(result.text, result.data, result.problems)
