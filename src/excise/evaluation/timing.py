"""Run times of finding a topic's codes: the paper's table 3."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch

from excise.codes.finder import CodeFinder
from excise.codes.search import Search, preset_for, searches_of
from excise.data.topics import TopicSets
from excise.evaluation.sweeps import TOP_S
from excise.report.markdown import markdown
from excise.storage.display import HtmlTable, few, shortened
from excise.storage.expected import expects

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Runtimes(HtmlTable):
    """Seconds to count a topic's codes, test and select them.

    Attributes:
        topic: the topic in words.
        seconds: by S', one number a repetition: as if that S' alone were wanted.
        together: one number a repetition, for all S' in one pass.
        settings: what was counted, on what, and how busy the machine was.
    """

    topic: str
    seconds: Mapping[int, tuple[float, ...]]
    together: tuple[float, ...]
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        means = [f"{fmean(times):.2f} s at S′ = {top_s}" for top_s, times in self.seconds.items()]
        return f"Runtimes: {shortened(self.topic)!r}; {few(means, 8)}; {fmean(self.together):.2f} s for all together"

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per S', and a last one for all together: `top_s`, `mean`, `std` (of a sample) and `repeats`."""
        import pandas

        rows = [*self.seconds.items(), ("all together", self.together)]
        return pandas.DataFrame(
            [
                {
                    "top_s": str(top_s),
                    "mean": fmean(times),
                    "std": stdev(times) if len(times) > 1 else float("nan"),
                    "repeats": len(times),
                }
                for top_s, times in rows
            ]
        )

    def to_markdown(self) -> str:
        """The table in Markdown, with what it was measured on below."""
        rows = [[str(row.top_s), f"{row.mean:.2f}", f"{row.std:.2f}"] for row in self.to_pandas().itertuples()]
        about = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{markdown(['S′', 'mean (s)', 'standard deviation (s)'], rows)}\n\nTopic {self.topic!r}: {about}."

    def __str__(self) -> str:
        return self.to_markdown()


@expects("finder", "topic")
def runtimes(
    finder: CodeFinder,
    topic: TopicSets,
    *,
    top_s: Iterable[int] = TOP_S,
    repeats: int = 3,
    preset: str | Search | Sequence[Search] = "default",
    batch_size: int = 64,
) -> Runtimes:
    """Measures how long it takes to find a topic's codes, for each S' alone and for all in one pass (table 3).

    Args:
        finder: the model and its ledger.
        topic: sets as `topic_sets` makes them; target and control are counted.
        top_s: numbers S' of codes counted for each token.
        repeats: how often each is measured; an unmeasured run comes first.
        preset: how codes are found, as in `Unlearner.count`.
        batch_size: pairs a batch.

    Raises:
        ValueError: if no S' is given, one is out of range, or `repeats` is below 1.
    """
    steps = sorted(set(top_s))
    if not steps or repeats < 1:
        raise ValueError(f"top_s={steps}, repeats={repeats}: expected at least one S' and one repetition.")

    def measured(wanted: list[int]) -> float:
        started = time.perf_counter()
        counts = finder.count(topic, preset, max_top_s=max(wanted), batch_size=batch_size, progress=False)
        for step in wanted:
            counts.select(step)
        return time.perf_counter() - started

    measured(steps[:1])
    searches = searches_of(preset_for(topic, preset))
    settings = {
        "pairs": len(topic.target),
        "searches": "; ".join(f"{one.method} at {one.positions or topic.positions} positions" for one in searches),
        "device": str(finder.model.device),
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "getloadavg"):
        settings["load average"] = round(os.getloadavg()[0], 2)
    return Runtimes(
        topic.name,
        {step: tuple(measured([step]) for _ in range(repeats)) for step in steps},
        tuple(measured(steps) for _ in range(repeats)),
        settings,
    )
