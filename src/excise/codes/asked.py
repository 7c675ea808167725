"""Requests as they are asked for: what the ledger is to say of them, and what of them is private."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from transformers import PreTrainedConfig, PreTrainedModel

from excise.codes.pair_counts import ClassCounts
from excise.codes.search import Search, Topic, check_topic, is_topic
from excise.codes.selection import Selection
from excise.data.forget_sets import ForgetSets, PrivateLabel, dataset_digest, folded
from excise.data.reading import is_dataset
from excise.ledger.ledger import Ledger, Request
from excise.ledger.masks import enforce
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
        if isinstance(name, Search) or (isinstance(name, list | tuple) and any(isinstance(s, Search) for s in name)):
            raise ValueError(f"name={name!r}: that is how codes are found. Give it by its name: `preset=Search(...)`.")
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


def put_in_force(
    model: PreTrainedModel, kind: str, codes: Mapping[str, Sequence[int]], asked: Asked, **details: Any
) -> Request:
    """A new request of a model's ledger; what it removes is removed, and a private class goes by its label.

    Args:
        model: the model.
        kind: `"mask"` or `"delete"`.
        codes: by site, what is removed.
        asked: what the ledger says of it.
        **details: other fields of the request.

    Raises:
        ValueError: if nothing is selected, or as `enforce` and `check_label`; the model is then as it was.
    """
    ledger = Ledger.from_dict(model.config.unlearning)
    if not any(codes.values()):
        masked = [one for one in ledger.requests if one.topic == asked.name and not one.undone]
        if masked:
            number, what = masked[-1].id, masked[-1].kind
            raise ValueError(
                f"Nothing is selected: request {number} ({what}) removes the codes of {asked.name!r} already. To "
                f"delete what it masks: `delete_request({number})`; to begin anew, `undo` it first."
            )
        raise ValueError(
            f"Nothing is selected, so there is nothing to {kind}. Thresholds: {details.get('thresholds', {})}. A topic "
            "that the model does not know, or a model that was hardly trained, has no codes that tell it: look at "
            "`evaluate(...)` first. Else give more examples with the topic, or a less strict search, such as "
            "`Search('activations', count=...)`, which takes what fires most."
        )
    details |= {"data": dict(asked.data)} | ({"private": True} if asked.private else {})
    if asked.known:
        check_label(model.config, asked.known.words, asked.name)
    ledger = ledger.add(kind, asked.name, codes, **details)
    enforce(model, ledger)
    if asked.known:
        hide_classes(model.config, asked.known.words, asked.name)
    return ledger.log_outcome(len(ledger.requests))


def check_label(config: PreTrainedConfig, words: Iterable[str], label: str) -> None:
    """Makes sure that `hide_classes` leaves every class a name of its own; a `ValueError` if not."""
    hidden, known = set(map(folded, words)), [str(name) for name in (config.id2label or {}).values()]
    hides = [name for name in known if folded(name) in hidden]
    if hides and (label in known or len(hides) > 1):
        raise ValueError("The model calls another class by that label, or hides several by it. Give another label.")


def hide_classes(config: PreTrainedConfig, words: Iterable[str], label: str) -> None:
    """Calls the classes that a model's config has under one of some words by a label; their indices stay.

    The configs within it, as of an encoder that was a classifier, have names of classes too.
    """
    words = list(words)
    for name in config.sub_configs:
        if isinstance(inner := getattr(config, name, None), PreTrainedConfig):
            hide_classes(inner, words, label)
    hidden, known = set(map(folded, words)), dict(getattr(config, "id2label", None) or {})
    names = {index: label if folded(str(name)) in hidden else name for index, name in known.items()}
    if names != known:
        config.id2label = names
        config.label2id = {name: index for index, name in names.items()}
