"""Null topics: sets about nothing, to see what a test finds where there is nothing to find."""

import random
from dataclasses import replace

from datasets import Dataset

from excise.data.topics.sets import TopicSets
from excise.data.words import words
from excise.storage.expected import expects


@expects("topic", "seed")
def null_sets(topic: TopicSets, seed: int = 0) -> TopicSets:
    """The null control of a topic: one half of its retain set as target, the other as control.

    Each text's span is a word of it, drawn at random. Whatever code a rule finds enriched is found by chance.

    Args:
        topic: sets with at least two retain rows.
        seed: of the halves and the words.

    Raises:
        ValueError: if there are fewer than two retain rows.
    """
    half = len(topic.retain) // 2
    if not half:
        raise ValueError(f"The retain set has {len(topic.retain)} rows; two halves need at least two.")
    rng = random.Random(seed)
    rows = rng.sample(range(len(topic.retain)), 2 * half)
    target, control = (_with_a_word(topic.retain.select(part), rng) for part in (rows[:half], rows[half:]))
    topic = replace(topic, words=("nothing",), inflections=("nothing",), wording=(), apart=(), taken=(), counts={})
    return replace(topic, target=target, control=control)


def _with_a_word(rows: Dataset, rng: random.Random) -> Dataset:
    spans = []
    for text in rows["text"]:
        places = [[word.start, word.end] for word in words(text)]
        spans.append([rng.choice(places)] if places else [])
    return rows.remove_columns("spans").add_column("spans", spans)
