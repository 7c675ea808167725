"""Requests as they are asked for: what the ledger is to say of them, and what of them is private."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from excise.codes.pair_counts import ClassCounts
from excise.codes.search import Topic, check_topic, is_topic
from excise.codes.selection import Selection
from excise.data.forget_sets import ForgetSets, PrivateLabel, dataset_digest
from excise.data.reading import is_dataset
from excise.storage.digests import DigestKey


class Asked(NamedTuple):
    """What a ledger says of a request: see `Request`; and of a private one, what its label stands for, if known."""

    name: str
    data: Mapping[str, str]
    private: bool
    known: PrivateLabel | None = None


def asked_for(topic: Topic | Selection, name: Any, label: str | None, private: bool | DigestKey, number: int) -> Asked:
    """What a ledger is to say of a request of this number; other arguments and errors as in `Unlearner.mask`."""
    if not isinstance(topic, Selection):
        check_topic(topic)
        if not isinstance(name, str | None):
            raise ValueError(f"name={name!r}: expected words. What codes are chosen on here is the topic itself.")
    about = topic if name is None or isinstance(name, str) else name
    known = getattr(about, "private", None)
    of_what = name if isinstance(name, str) and not known else getattr(about, "name", None)
    if (of_what is None and not private) or not (is_topic(about) or isinstance(about, Selection)):
        raise ValueError(
            f"A {type(about).__name__} does not tell what is forgotten. Name it for the ledger, as by "
            'name="the topic"; of a selection, give the sets that it was chosen on, or words.'
        )
    data = {"target": dataset_digest(about)} if is_dataset(about) else {}
    data |= about.digest() if isinstance(about, ForgetSets | ClassCounts) else {}
    if known and isinstance(private, DigestKey) and private != known.key:
        raise ValueError("The topic is private under another key. Leave the key out, or call `private_as` with it.")
    if known is None and private:
        key = private if isinstance(private, DigestKey) else DigestKey.new()
        words = (*getattr(about, "own_words", ()), *([of_what] if of_what else []))
        known, data = PrivateLabel(label or f"request-{number}", key, words), key.keyed(data)
    known = replace(known, label=label) if known and label else known
    return Asked(known.label if known else label or cast(str, of_what), data, bool(known), known)
