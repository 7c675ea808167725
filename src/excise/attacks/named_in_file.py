"""Name of a topic in a shared file: in the ledger of its config, or among words that are not to be generated."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.data.inputs import tokenizer_of
from excise.data.topics.matching import Matcher
from excise.ledger.ledger import Ledger

# What names a topic, for the first sentence of a reason. None of them holds the topic's words.
REQUEST = "The ledger in the file names the topic, as the request is not private."
ROWS = "The ledger in the file lists the tokens whose embedding rows were erased, and one is a word of the topic."
# What question sets are called that have neither title nor names, which tells nothing.
UNTOLD = re.compile(r"\d+ questions")
UNSAID = "`bad_words_ids` in the file's `generation_config.json` hold words of the topic, which are not to come out."


def named_in_file(model: PreTrainedModel, sets: AttackSets, others: Sequence[PreTrainedModel | None] = ()) -> str:
    """What names the topic in a model's file, in a sentence; empty if nothing does.

    Read are requests of the ledger that are in force: what they are called, unless they are private, and the tokens
    whose embedding rows a deletion has erased, which a private one lists, too. And the words that are not to be
    generated, in which a filter hides what is still known.

    Args:
        model: the one that is shared.
        sets: what was forgotten, with its words in texts and references.
        others: models that forgot nothing: what is not to come out of them either is no sign.

    Raises:
        ValueError: if the config holds no readable ledger.
    """
    topic: Any = sets.topic
    if sets.of_questions:  # of those without names, what they are called is all that tells of them
        matcher = Matcher(topic.own_words)
    else:
        matcher = Matcher([*topic.inflections, *sets.words] if sets.of_texts else [topic.classes[topic.label]])
    ledger = Ledger.from_dict(getattr(model.config, "unlearning", None))
    in_force = [request for request in ledger.requests if not request.undone]
    told = [of.topic for of in in_force if not of.private and not (sets.of_questions and UNTOLD.fullmatch(of.topic))]
    if any(of == topic.name or matcher.touches(of) for of in told):
        return REQUEST
    if not sets.of_texts:
        return ""
    erased: set[tuple[int, ...]] = {
        (row,) for of in in_force if of.kind == "delete" for rows in of.rows.values() for row in rows
    }
    if any(map(matcher.touches, _read(erased, sets))):
        return ROWS
    unsaid = _unsaid(model).difference(*(_unsaid(other) for other in others if other is not None))
    return UNSAID if any(map(matcher.touches, _read(unsaid, sets))) else ""


def _unsaid(model: Any) -> set[tuple[int, ...]]:
    """Sequences of tokens that a model is not to generate; none of one that generates nothing."""
    listed = getattr(getattr(model, "generation_config", None), "bad_words_ids", None)
    return {tuple(ids) for ids in listed or ()}


def _read(tokens: set[tuple[int, ...]], sets: AttackSets) -> Iterator[str]:
    """What sequences of tokens say."""
    tokenizer = tokenizer_of(sets.processor)
    return (str(tokenizer.decode(list(ids))).strip() for ids in tokens)
