"""Help of a training, with arguments that are known only once transformers is loaded."""

import argparse
import importlib
from typing import Any


class TrainingHelp(argparse.Action):
    """Shows a verb's help and, after it, what `own_arguments` of a module, the constant of the action, has."""

    def __init__(self, option_strings: list[str], dest: str, const: str, help: str | None = None, **_: Any):
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, const=const, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Prints, and ends the program."""
        own = importlib.import_module(str(self.const)).own_arguments()
        print(parser.format_help())
        print(own.format_help().partition("\n\n")[2])
        parser.exit()
