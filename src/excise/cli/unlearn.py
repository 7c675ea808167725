"""Make a model forget a topic: count, select codes, mask them, and save the model into a new folder.

A mask can be undone (`excise undo`) or made final (`excise delete`). The model in MODEL stays as it is.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.forgetting import add_forgetting, forget
from excise.cli.options import add_topic
from excise.cli.output import Output

HELP = "mask the codes of a topic"
EXAMPLES = """\
  excise unlearn model teacher --out model-unlearned
  excise unlearn model teacher --counts teacher-counts --q 0.01 --max-retain-ratio 0.5 --out model-unlearned-strictly
  excise unlearn model teacher --max-loss-rise 0.01 --out model-unlearned-within-1-percent
  excise unlearn model teacher --count 50 --codes-out codes.json --out model-unlearned-50 --json
  excise unlearn classifier cat --out classifier-unlearned
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_forgetting(parser, add_topic)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    return forget(args, "mask")
