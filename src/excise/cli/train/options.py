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
            raise ValueError(f"Argument --{name}: {value} is too small: expected {least} or more.")


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
    """The words for transformers' parser, with what --seed and --device mean there; errors as `see_only`."""
    words = list(args.rest)
    if args.seed is not None:
        words += ["--seed", str(args.seed)]
    if args.device is not None:
        see_only(args.device)
        words += ["--use_cpu"] if args.device == "cpu" else []
    return words


def see_only(device: str) -> None:
    """Hides all GPUs but one from a `Trainer`, which takes all that it sees; to be called before torch is loaded.

    Raises:
        ValueError: if the device is not there.
    """
    kind, _, number = device.partition(":")
    if kind != "mps" and "torch" not in sys.modules:
        seen = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
        if kind == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        elif number and (not seen or int(number) < len(seen)):
            os.environ["CUDA_VISIBLE_DEVICES"] = seen[int(number)] if seen else number
            device = "cuda"
    from excise.cli.loading import device_of

    device_of(device)
