"""Parser of the command line: options that every verb has, and hints at what was meant by others."""

import difflib
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from excise.cli.values import device, seed


class Parser(ArgumentParser):
    """An argument parser that names what is near to an option or a choice that it does not know."""

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse."""
        self.given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """As in argparse, with hints."""
        if message.startswith("the following arguments are required") and (words := self._unknown(self.given)):
            message += f"; {unrecognized(words, self)}"
        if chosen := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message, re.DOTALL):
            message += _meant(chosen[1], re.findall(r"[^\s',]+", chosen[2]))
        super().error(message)

    def _unknown(self, words: Iterable[str]) -> list[str]:
        return [word for word in words if word.startswith("--") and word.partition("=")[0] not in options(self)]


class VerbsFormatter(RawDescriptionHelpFormatter):
    """A formatter of help that keeps each verb on a line of its own, the longest name too."""

    def __init__(self, prog: str, **options: Any):
        super().__init__(prog, max_help_position=30, **options)
        self._action_max_length = 22


def options(parser: ArgumentParser) -> list[str]:
    """The options that a parser knows, as they are written."""
    return list(parser._option_string_actions)


def unrecognized(words: Sequence[str], *parsers: ArgumentParser) -> str:
    """A message about words that no parser takes, with the options that may have been meant."""
    known = [option for parser in parsers for option in options(parser) if option.startswith("--")]
    unknown = [word.partition("=")[0] for word in words if word.startswith("-")]
    hints = dict.fromkeys(_meant(word, known) for word in unknown)
    return f"unrecognized arguments: {' '.join(words)}" + "".join(hints)


def _meant(word: str, known: Sequence[str]) -> str:
    # transformers takes options in two ways of writing: the one that was used is told
    same_way = sorted(known, key=lambda name: ("_" in name) == ("_" in word))
    by_form = {name.replace("_", "-").lower(): name for name in same_way}
    near = difflib.get_close_matches(word.replace("_", "-").lower(), by_form, n=2, cutoff=0.7)
    near = [by_form[form] for form in near]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def add_common(parser: ArgumentParser) -> None:
    """--device, --seed, --json, --quiet and --debug."""
    group = parser.add_argument_group("of every verb")
    group.add_argument(
        "--device",
        type=device,
        metavar="NAME",
        help="where models run: cpu, cuda, cuda:1, mps (default: a GPU where there is one)",
    )
    group.add_argument("--seed", type=seed, default=0, metavar="N", help="of whatever is drawn (default: 0)")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object")
    group.add_argument("--quiet", action="store_true", help="show no progress bars")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
