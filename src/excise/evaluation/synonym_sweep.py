"""Sweep on a synonym: how far the forgetting of one word takes another with it, the paper's figure 5."""

from dataclasses import replace
from typing import Any

from datasets import Dataset

from excise.codes.finder import CodeFinder
from excise.data.topics import TopicSets
from excise.data.topics.matching import normalise
from excise.evaluation.sweeps import sweep
from excise.report.sweep import Sweep
from excise.storage.expected import expects


@expects("finder", "topic", other="topic")
def synonyms(finder: CodeFinder, topic: TopicSets, other: TopicSets, **options: Any) -> Sweep:
    """Removes one topic's codes and tests on another, such as *like* after *love*, at each S' (figure 5).

    Sentences of the other topic that hold the removed one's word too, or that its codes were selected on, are left
    out: they would show what was asked for and not what it takes with it.

    Args:
        finder: the model and its ledger.
        topic: sets of the topic to remove.
        other: sets of the topic to test on.
        **options: the other arguments of `sweep`.

    Raises:
        ValueError: if no sentence of the other topic is without the removed one.
    """
    heldout, heldout_retain = (without(other, name, topic) for name in ("heldout", "heldout_retain"))
    return sweep(finder, topic, tested=replace(other, heldout=heldout, heldout_retain=heldout_retain), **options)


def without(other: TopicSets, name: str, topic: TopicSets) -> Dataset:
    """One of a topic's sets, without the rows that hold another topic's word or that its codes were selected on.

    Args:
        other: sets of the topic.
        name: which of them.
        topic: sets of the other topic.

    Raises:
        ValueError: if no row is left.
    """
    matcher = topic.matcher
    chosen = (topic.target, topic.control, topic.retain)
    seen = {normalise(text.removeprefix(topic.prefix)) for rows in chosen for text in rows["text"]}
    rows = getattr(other, name)
    texts = [text.removeprefix(other.prefix) for text in rows["text"]]
    kept = [i for i, text in enumerate(texts) if not matcher.touches(text) and normalise(text) not in seen]
    if not kept:
        raise ValueError(
            f"Each of the {len(rows)} sentences of {other.name!r} in {name!r} holds {topic.name!r} too, or is one that "
            "the codes were selected on. Make the sets of both topics from the same data with the same `evaluation`."
        )
    return rows.select(kept)
