"""Values of arguments: counts, rates, devices and lists, each refused with what is expected of it."""

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable


def whole(least: int = 1) -> Callable[[str], int]:
    """A reader of whole numbers that are not smaller than one.

    Example:
        >>> whole()("12")
        12
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(
                f"{text!r} is an invalid int value: expected a whole number, {least} or more."
            ) from None
        if value < least:
            raise ArgumentTypeError(f"{text} is too small: expected a whole number, {least} or more.")
        return value

    return read


def real(least: float = 0.0, most: float = math.inf, what: str = "a number") -> Callable[[str], float]:
    """A reader of finite numbers within bounds; `nan` and `inf` are none.

    Example:
        >>> real(0, 1)("0.05")
        0.05
    """
    bounds = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is an invalid float value: expected {what}, {bounds}.") from None
        if not (math.isfinite(value) and least <= value <= most):
            raise ArgumentTypeError(f"{text} is out of range: expected {what}, {bounds}.")
        return value

    return read


def seed(text: str) -> int:
    """A seed: a whole number that every generator of random numbers takes."""
    value = whole(0)(text)
    if value >= 2**32:
        raise ArgumentTypeError(f"{text} is too large for a seed: expected a whole number below 2^32.")
    return value


def encoding(text: str) -> str:
    """The name of an encoding of texts that Python knows."""
    from excise.data.text_encodings import known_encoding

    try:
        return known_encoding(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error).removeprefix("encoding=")) from None


def device(text: str) -> str:
    """The name of a device; whether it is there is asked when a model is put on it."""
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", text):
        raise ArgumentTypeError(f"{text!r} is no device: expected cpu, cuda, a GPU by its number as cuda:1, or mps.")
    return text


def numbers(text: str) -> tuple[int, ...]:
    """`8,24` as numbers."""
    try:
        return tuple(whole()(part) for part in text.split(","))
    except ArgumentTypeError:
        message = f"{text!r}: expected whole numbers from 1, joined by commas, such as 8,24,40."
        raise ArgumentTypeError(message) from None


def metric_names(text: str) -> tuple[tuple[str, ...], ...]:
    """`meteor,bartscore:PATH` as the parts of each metric."""
    metrics = []
    for part in text.split(","):
        name, _, rest = part.strip().partition(":")
        pieces = {"meteor": [], "bartscore": [rest], "bertscore": list(rest.rpartition(":")[::2])}.get(name)
        complete = all(pieces or ()) and bool(rest) == bool(pieces)
        if pieces is None or not complete or (name == "bertscore" and not pieces[1].isdecimal()):
            raise ArgumentTypeError(f"{part!r}: expected meteor, bertscore:MODEL:LAYER or bartscore:MODEL.")
        metrics.append((name, *pieces))
    return tuple(metrics)


def names(text: str) -> tuple[str, ...]:
    """`left-out,rounded` as names, which are looked up when the attacks are made."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise ArgumentTypeError(f"{text!r}: expected quick, all, or names of attacks joined by commas.")
    return parts


def base_of(text: str) -> tuple[str, str | None]:
    """`ID@REVISION`, or a folder, as `write_bundle` takes a base."""
    name, _, revision = text.partition("@")
    if not name:
        raise ArgumentTypeError(f"{text!r}: expected a folder, or a Hub id with its revision, as t5-small@df1b051.")
    return name, revision or None
