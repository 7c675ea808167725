"""Order of a model's classes beside that of a data set's: matched by name, never silently by position."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from transformers import PreTrainedConfig

from excise.data.class_labels import class_labels, places, warn_of_positions
from excise.data.class_names import are_no_names, class_names
from excise.ledger.ledger import Ledger
from excise.storage.display import few

if TYPE_CHECKING:
    from datasets import Dataset
    from datasets.features.features import FeatureType


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
    if len(classes) <= len(own) and (are_no_names(own) or are_no_names(classes)):
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


def labels_in_model(config: PreTrainedConfig, dataset: "Dataset", label: str) -> "tuple[list[int], FeatureType]":
    """The labels of a data set's rows as a model has them, and the type of their column.

    Args:
        config: of the model.
        dataset: rows whose classes go by their names; labels without names are the model's already.
        label: their column.

    Raises:
        ValueError: as `places_in_model` and `class_labels`, or if a row has no label or one that is out of range.
    """
    from datasets import ClassLabel

    own, feature = own_classes(config), dataset.features[label]
    named = hasattr(feature, "names") or "string" in getattr(feature, "dtype", "")
    _, labels, known = class_labels(dataset, label, None if named else own)
    wrong = [row for row, of_row in enumerate(labels) if of_row is None or not 0 <= of_row < len(known)]
    if wrong:
        there = [of_row for of_row in labels if of_row is not None]
        values = f"values from {min(there)} to {max(there)}" if there else "no values"
        raise ValueError(
            f"{label!r} has {values}; the model has classes 0 to {len(known) - 1}. Row {wrong[0]} has "
            f"{labels[wrong[0]]}. Remove rows without a class, of which there are {len(wrong):,}."
        )
    where = places_in_model(config, known)
    if where == list(range(len(known))) and hasattr(feature, "names"):
        return cast(list[int], labels), feature
    names = known if are_no_names(own) and len(known) == len(own) else own
    return [where[cast(int, of_row)] for of_row in labels], ClassLabel(names=list(names))


def _private_labels(config: Any) -> set[str]:
    state = getattr(config, "unlearning", None)
    return {request.topic for request in Ledger.from_dict(state).requests if request.private}
