"""Class names in the order of labels, of a list or an `id2label`."""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

from excise.storage.display import few


def class_names(names: Any) -> tuple[str, ...]:
    """The names of classes in the order of their labels.

    Args:
        names: a list of them; a mapping of labels to names as `config.id2label`, whose keys may be strings, as JSON has
            them; or a `datasets.ClassLabel`.

    Raises:
        ValueError: if there is none, labels are left out, or a name is no text, is empty, or comes twice.

    Example:
        >>> class_names({"1": "dog", "0": "cat"})
        ('cat', 'dog')
    """
    names = getattr(names, "names", names)
    if isinstance(names, Mapping):
        try:
            by_label = {class_label(label): name for label, name in names.items()}
        except ValueError:
            raise ValueError(
                f"The classes are given by {few(list(names))}; expected labels 0, 1, ... with a name each, such as "
                '{0: "cat", 1: "dog"}. Names with their labels are a `label2id`: turn it round.'
            ) from None
        missing = [label for label in range(len(names)) if label not in by_label]
        if missing or len(by_label) < len(names):
            raise ValueError(
                f"The classes have the labels {few(list(names))}; expected each number from 0 to {len(names) - 1} once."
            )
        names = [by_label[label] for label in range(len(names))]
    names = names.tolist() if hasattr(names, "tolist") else names
    if isinstance(names, str) or not isinstance(names, Sequence) or not len(names):
        raise ValueError(f"The classes are {names!r}; expected a list of names, at least one, or an `id2label`.")
    wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no name of a class: expected a text in each place of {few(list(names))}.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"The name {twice[0]!r} stands for more than one class. Give each class a name of its own.")
    return tuple(str(name) for name in names)


def class_label(label: Any) -> int:
    """A label as a number, which may be a text of digits.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(label, str) and label.strip().isdecimal():
        return int(label)
    if isinstance(label, bool) or not isinstance(label, SupportsIndex):
        raise ValueError(f"{label!r} is no label.")
    return operator.index(label)


def are_no_names(names: Sequence[str]) -> bool:
    """Whether names say no more than the labels do, as `LABEL_0`, `0`, `class 0` and `class_0`.

    Example:
        >>> are_no_names(["LABEL_0", "LABEL_1"]), are_no_names(["1", "0"])
        (True, False)
    """
    return any(
        list(names) == [start + str(i) for i in range(len(names))] for start in ("LABEL_", "", "class ", "class_")
    )


def check_same_order(names: Sequence[str], known: Mapping[int, str]) -> None:
    """Refuses names of classes that a trained classifier has in another order: names do not move its outputs.

    Raises:
        ValueError: if they are the same in another order.
    """
    before = [known[label] for label in sorted(known)]
    if list(names) != before and sorted(names) == sorted(before):
        raise ValueError(
            f"The base has these classes in another order, {few(before, 20)}, and names do not move the outputs of its "
            "classifier. Leave `classes` out; data sets of any order are matched by name."
        )
