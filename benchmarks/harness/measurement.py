"""Timings of things that take turns in one process, and rows of results with what they are to reach.

On a machine that others use, two numbers taken one after the other compare nothing. Here all that a row compares runs
in rounds, one turn each, the first of a round moving on by one; a ratio is taken within each round, and the row gives
the median of the rounds, its lowest and highest, and the median and minimum of all seconds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.machine import load

DIGITS = 4


@dataclass(frozen=True)
class Turn:
    """What is timed, and what is done before each time without being timed."""

    run: Callable[[], Any]
    before: Callable[[], Any] = lambda: None


def take_turns(
    turns: Mapping[str, Turn | Callable[[], Any]], rounds: int, warm: int = 1, wait: Callable[[], Any] = lambda: None
) -> dict[str, list[float]]:
    """The seconds of each turn in each round.

    Args:
        turns: what takes turns, by name. One that gives a float has timed itself.
        rounds: how many turns each gets.
        warm: rounds that count for nothing, before.
        wait: called before a clock is read, for devices that go on by themselves.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for index in range(-warm, rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            turn = turns[name]
            turn = turn if isinstance(turn, Turn) else Turn(turn)
            turn.before()
            wait()
            started = time.perf_counter()
            result = turn.run()
            wait()
            elapsed = time.perf_counter() - started
            if index >= 0:
                seconds[name].append(result if isinstance(result, float) else elapsed)
            del result
    return seconds


@dataclass(frozen=True)
class Reach:
    """The number that a row is to reach: at most it, or at least it."""

    value: float
    at_least: bool = False

    def passed(self, value: float) -> bool:
        """Whether a value is on the right side of it."""
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.value:g}"


@dataclass(frozen=True)
class Row:
    """One measured number.

    Args:
        what: what was measured, for a reader.
        value: the number; `None` where it could not be measured, and `note` says why.
        unit: its unit; `x` for a ratio.
        low: the lowest of the rounds.
        high: the highest.
        reach: what the number is to reach; `None` for a number that is told and not judged.
        seconds: all timings, by what took turns.
        ours: which of them is excise's.
        against: which of them it is held against; for a row of a peer, the peer with its version.
        settings: sizes and the like.
        note: what a reader must know to read the number.
        peer: whether what it is held against is another library.
    """

    what: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    reach: Reach | None = None
    seconds: Mapping[str, list[float]] = field(default_factory=dict)
    ours: str = "excise"
    against: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    peer: bool = False

    @property
    def passed(self) -> bool | None:
        """Whether it reached what it is to reach; `None` where nothing is to be reached."""
        if self.reach is None:
            return None
        return self.value is not None and self.reach.passed(self.value)

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values; timings with their median, minimum and maximum."""
        return {
            "what": self.what,
            "value": rounded(self.value),
            "unit": self.unit,
            "low": rounded(self.low),
            "high": rounded(self.high),
            "reach": str(self.reach) if self.reach else None,
            "passed": self.passed,
            "peer": self.peer,
            "ours": self.ours,
            "against": self.against,
            "seconds": {name: spread(values) for name, values in self.seconds.items()},
            "settings": dict(self.settings),
            "note": self.note,
        }


def ratio(
    what: str,
    seconds: Mapping[str, list[float]],
    ours: str,
    against: str,
    *,
    speed: bool = False,
    **fields: Any,
) -> Row:
    """A row of how many times as long ours takes as another in the same round; or, of `speed`, as fast as it.

    Args:
        what: what was measured.
        seconds: of `take_turns`.
        ours: which of them is excise's.
        against: which of them it is held against.
        speed: the other's seconds over ours, not ours over the other's.
        fields: the other fields of the row.
    """
    top, bottom = (against, ours) if speed else (ours, against)
    ratios = [a / b for a, b in zip(seconds[top], seconds[bottom], strict=True)]
    both = {name: seconds[name] for name in (ours, against)}
    return Row(
        what,
        statistics.median(ratios),
        "x",
        min(ratios),
        max(ratios),
        ours=ours,
        against=against,
        seconds=both,
        **fields,
    )


def seconds_row(what: str, seconds: list[float], **fields: Any) -> Row:
    """A row of seconds on their own: median, lowest and highest."""
    timings = {"excise": seconds}
    return Row(what, statistics.median(seconds), "s", min(seconds), max(seconds), seconds=timings, **fields)


def missing(what: str, against: str | None, why: str, **fields: Any) -> Row:
    """A row without a number, which says why there is none."""
    return Row(what, None, "", against=against, note=why, **fields)


def spread(values: list[float]) -> dict[str, Any]:
    """Median, minimum, maximum and all of some timings."""
    return {
        "median": rounded(statistics.median(values)),
        "minimum": rounded(min(values)),
        "maximum": rounded(max(values)),
        "runs": [rounded(value) for value in values],
    }


def rounded(value: float | None) -> float | None:
    """A number with as many digits as a timing is good for."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class Benchmark:
    """A script's measurements.

    Args:
        about: the script's docstring.
        measure: gives the rows, from the arguments.
        arguments: adds the script's own arguments to a parser.
        tiny: what `--tiny` sets, by argument: sizes that a test of the script can pay for.
    """

    about: str
    measure: Callable[[argparse.Namespace], Iterable[Row]]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    tiny: Mapping[str, Any] = field(default_factory=dict)

    def parse(self, argv: list[str] | None = None) -> argparse.Namespace:
        """The arguments of a run: the script's own and those of all."""
        formatter = argparse.RawDescriptionHelpFormatter
        parser = argparse.ArgumentParser(description=self.about, formatter_class=formatter)
        parser.add_argument("--threads", type=int, default=2)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--tiny", action="store_true", help="sizes for a test of the script, not for a number")
        self.arguments(parser)
        if parser.parse_known_args(argv)[0].tiny:
            parser.set_defaults(**self.tiny)
        return parser.parse_args(argv)

    def rows(self, argv: list[str] | None = None) -> Iterator[Row]:
        """The rows, one after the other as they are measured."""
        args = self.parse(argv)
        torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        yield from self.measure(args)

    def main(self) -> None:
        """Prints each row as a line of JSON, with the load of the machine beside it."""
        for row in self.rows(sys.argv[1:]):
            print(json.dumps({**row.as_json(), "load": load()}), flush=True)
