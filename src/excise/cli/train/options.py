"""Options of trainings: words for transformers' parser, counts that are refused, and a device."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from excise.cli.parser import unrecognized


def at_least(arguments: Any, least: int, *names: str) -> None:
    """Refuses numbers of a dataclass that are too small; `None` is none.

    Raises:
        ValueError: if one is.
    """
    for name in names:
        value = getattr(arguments, name)
        if value is not None and not value >= least:  # of NaN, too
            raise ValueError(f"argument --{name}: {value} is too small: expected {least} or more.")


def parsed(kinds: Any, argv: Sequence[str], prog: str | None) -> tuple[Any, ...]:
    """The arguments as dataclasses; wrong ones end the program with a message."""
    from transformers import HfArgumentParser

    # The usage of a hundred and fifty arguments would hide what is wrong with one of them.
    parser = HfArgumentParser(kinds, prog=prog, usage="%(prog)s [arguments]", allow_abbrev=False)
    try:
        *parts, unknown = parser.parse_args_into_dataclasses(
            list(argv), look_for_args_file=False, return_remaining_strings=True
        )
    except (ValueError, TypeError) as error:
        parser.error(" ".join(str(error).split()))
    if unknown:
        parser.error(unrecognized(unknown, parser))
    return tuple(parts)


def passed_on(args: Namespace) -> list[str]:
    """The words for transformers' parser, with what a verb's own --seed and --device mean there.

    Raises:
        ValueError: if the device is not there.
    """
    words = list(args.rest)
    if args.seed is not None:
        words += ["--seed", str(args.seed)]
    kind, _, number = (args.device or "").partition(":")
    if kind == "cuda" and number and "torch" not in sys.modules:
        # A Trainer takes all GPUs that it sees.
        seen = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
        if not seen or int(number) < len(seen):
            os.environ["CUDA_VISIBLE_DEVICES"] = seen[int(number)] if seen else number
            kind, number = "cuda", "0"
    if kind:
        from excise.cli.loading import device_of

        device_of(kind + (f":{number}" if number else ""))
    if kind == "cpu":
        words += ["--use_cpu"]
    return words
