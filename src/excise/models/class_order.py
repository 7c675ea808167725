"""Order of a model's classes beside that of a data set's: matched by name, never silently by position."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from excise.data.class_names import are_no_names, class_names, places, warn_of_positions
from excise.ledger.ledger import Ledger
from excise.storage.display import few


def own_classes(config: PreTrainedConfig) -> tuple[str, ...]:
    """The names of a model's outputs, in their order.

    Raises:
        ValueError: if they are no list of different names, one for each output.
    """
    return class_names(config.id2label)


def places_in_model(config: PreTrainedConfig, classes: Sequence[str], what: str = "model") -> list[int]:
    """For each class of a data set the output of a model that stands for it.

    Classes go by their names. A model, or a data set, that has none goes by the order of labels, and a warning says so.
    A class that a private request has hidden goes by the label of the request in the model; where it is the only one
    without a name, or all others stand at the same places on both sides, it is known which it is.

    Args:
        config: of the model.
        classes: of the data set, in the order of their labels; the model may have more.
        what: what messages call the model.

    Raises:
        ValueError: if a class has no output, or which it has is not known.
    """
    own = own_classes(config)
    where = places(classes, own)
    if None not in where:
        return [place for place in where if place is not None]
    if len(own) == len(classes) and (are_no_names(own) or are_no_names(classes)):
        warn_of_positions(what if are_no_names(own) else "data set", classes if are_no_names(own) else own)
        return list(range(len(classes)))
    lacking = [i for i, place in enumerate(where) if place is None]
    hidden = [i for i in range(len(own)) if i not in where and own[i] in _private_labels(config)]
    if len(lacking) == len(hidden) == 1:
        where[lacking[0]] = hidden[0]
    elif lacking == hidden and all(place in (None, i) for i, place in enumerate(where)):
        where = list(range(len(classes)))
    elif len(lacking) == len(hidden):
        raise ValueError(
            f"Of the {what}'s classes some have other names than in the data set, as of private requests, and the "
            "others stand in another order, so which is which is not known. Put the data set's in the model's order."
        )
    else:
        raise ValueError(
            f"The {what} has no class {few([repr(classes[i]) for i in lacking])}; its classes are {few(own, 20)}. "
            "Classes go by their names: give the data set the model's (`ClassLabel`), or the model the data set's "
            "(`id2label`), each in the order of its own labels."
        )
    return [place for place in where if place is not None]


def _private_labels(config: Any) -> set[str]:
    state = getattr(config, "unlearning", None)
    return {request.topic for request in Ledger.from_dict(state).requests if request.private}
