"""Class labels: columns of them read, one asked for by its name or number, and two lists of classes matched by name."""

import logging
import operator
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, SupportsIndex

from excise.data.class_names import are_no_names, class_names
from excise.data.images import label_column
from excise.storage.display import few

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


def alike(name: str) -> str:
    """A name as it is compared where no other is the very same: case, spaces, hyphens and underscores aside.

    Example:
        >>> alike(" Sports_Car")
        'sports car'
    """
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


class WrittenClass(str):
    """A class as it is written on a command line: by its name or, where none is called so, the number of its label."""


def class_index(wanted: Any, classes: Sequence[str], listed: str | None = None) -> int:
    """The label of a class that is asked for by its name or by its label.

    Args:
        wanted: the name, which may differ in case and spaces if only one does; the label, as a whole number of any
            kind; or a list of one of these.
        classes: all names, in the order of their labels.
        listed: how a message lists them.

    Raises:
        ValueError: if there is no such class; near names are told. Or a number is the label of one class and the name
            of another, or several classes are asked for.

    Example:
        >>> class_index("Cat", ["dog", "cat"]), class_index(0, ["dog", "cat"])
        (1, 0)
    """
    if isinstance(wanted, list | tuple | set | frozenset):
        one = list(dict.fromkeys(wanted))
        if len(one) != 1:
            raise ValueError(
                f"{len(one)} classes are asked for: {few(one) or 'none'}. Expected one, by its name or its label. "
                "Several are forgotten one after the other, each by a request of its own that can be undone."
            )
        wanted = one[0]
    if isinstance(wanted, WrittenClass) and wanted.isdecimal() and wanted not in classes:
        wanted = int(wanted)
    if isinstance(wanted, str):
        hits = [i for i, name in enumerate(classes) if name == wanted]
        hits = hits or [i for i, name in enumerate(classes) if alike(name) == alike(wanted)]
        if len(hits) == 1:
            return hits[0]
        raise ValueError(_unknown(wanted, classes, listed))
    kind = str(getattr(wanted, "dtype", type(wanted).__name__))
    try:
        if "bool" in kind or not isinstance(wanted, SupportsIndex):
            raise TypeError
        label = operator.index(wanted)
    except TypeError:
        expected = "expected the name of a class, or its index"
        error = _unknown(wanted, classes, listed)
        raise ValueError(f"A {kind} names no class: {expected}. {error}") from None
    if str(label) in classes and classes.index(str(label)) != label:
        there = f"the label of the class {classes[label]!r}" if 0 <= label < len(classes) else "no label"
        raise ValueError(f"{label} is {there} and the name of another. Give a name, as the text {str(label)!r}.")
    if not 0 <= label < len(classes):
        raise ValueError(_unknown(wanted, classes, listed))
    return label


def _unknown(wanted: Any, classes: Sequence[str], listed: str | None) -> str:
    known = {alike(name): name for name in classes}
    near = get_close_matches(alike(wanted), list(known), n=3) if isinstance(wanted, str) else []
    hint = f" Near it: {', '.join(known[name] for name in near)}." if near else ""
    if isinstance(wanted, str) and wanted.strip().isdecimal():
        hint = f" A label is given as a number: {wanted.strip()}, not {wanted!r}."
    names = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    return f"There is no class {wanted!r}; {listed or f'there are {len(classes)}, labels from 0: {names}'}.{hint}"


def places(classes: Sequence[str], own: Sequence[str]) -> list[int | None]:
    """For each of some classes its place among others by name, or `None`.

    Names that are not the very same are matched if only one on each side is alike.

    Example:
        >>> places(["cat", "Dog", "emu"], ["dog", "cat"])
        [1, 0, None]
    """
    exact = {name: i for i, name in enumerate(own)}
    ours, theirs = (Counter(map(alike, names)) for names in (classes, own))
    near = {alike(name): i for i, name in enumerate(own) if name not in classes and theirs[alike(name)] == 1}
    return [exact.get(n, near.get(alike(n)) if ours[alike(n)] == 1 else None) for n in classes]


def class_labels(
    dataset: "Dataset", label: str | None = None, classes: Any = None, what: str = "data set"
) -> tuple[str, list[int | None], tuple[str, ...]]:
    """A column of classes, whatever it holds: labels with names, labels alone, or names.

    Args:
        dataset: the data set.
        label: the column; the only one of type `ClassLabel`, or else `labels` or `label`, if not given.
        classes: names in the order of the labels that are wanted, as for `class_names`; those of the column if not
            given. They are what labels without names are read by.
        what: what messages call the data set.

    Returns:
        The name of the column; the label of each row, `None` where it has none; and the names.

    Raises:
        ValueError: if there is no such column, it has several labels a row or such as are none, labels have no names,
            or the names are not those that are wanted.
    """
    name = label_column(dataset, label)
    if name is None:
        raise ValueError(
            f"There is no column of labels in the {what}; its columns are {dataset.column_names}. Name it by `label=`."
        )
    wanted = None if classes is None else class_names(classes)
    values, known = _values_and_names(dataset, name, what, strict=wanted is None)
    if known is None and wanted is None:
        raise ValueError(
            f"There is no column {name!r} that has the names of its classes; give them, as by `classes=` with a list "
            f"or an `id2label`, or make one with `dataset.cast_column({name!r}, datasets.ClassLabel(names=[...]))`."
        )
    if wanted is None or known is None or wanted == known:
        return name, values, known or wanted or ()
    if len(known) == len(wanted) and (are_no_names(known) or are_no_names(wanted)):
        warn_of_positions(what, wanted if are_no_names(known) else known)
        return name, values, known if are_no_names(wanted) else wanted
    where = places(known, wanted)
    if None in where:
        other = few([repr(known[i]) for i, place in enumerate(where) if place is None])
        raise ValueError(
            f"The classes of the {what} are other ones: {other} is not among {few(wanted, 20)}. Names decide which "
            "class is which: make them agree."
        )
    return name, [where[v] if v is not None and 0 <= v < len(known) else v for v in values], wanted


def _values_and_names(
    dataset: "Dataset", name: str, what: str, strict: bool
) -> tuple[list[int | None], tuple[str, ...] | None]:
    """A column's labels, and their names if it has any; those of a column of names are in alphabetical order."""
    feature, values = dataset.features[name], dataset.with_format(None)[name][:]
    if isinstance(feature, dict) or hasattr(feature, "feature") or hasattr(feature, "shape"):
        raise ValueError(
            f"The column {name!r} of the {what} has several values a row (one-hot, or several classes an image), and "
            "an image is of one class here. Give a column with the one class of each row."
        )
    kind = getattr(feature, "dtype", type(feature).__name__)
    if known := getattr(feature, "names", None):
        return values, tuple(known)
    if "string" in kind:
        values = [value if value and value.strip() else None for value in values]
        names = sorted({value for value in values if value is not None})
        if all(value.isdecimal() for value in names):
            names.sort(key=int)
        seen: dict[str, str] = {}
        for value in names if strict else ():
            if (other := seen.setdefault(alike(value), value)) != value:
                raise ValueError(
                    f"The {what} has the classes {other!r} and {value!r}, which differ in case or spaces alone. Make "
                    "one of them, or say by a column of type `ClassLabel` that they are two."
                )
        index = {value: i for i, value in enumerate(names)}
        return [None if value is None else index[value] for value in values], tuple(names)
    if kind != "bool" and not kind.startswith(("int", "uint")):
        raise ValueError(
            f"The column {name!r} of the {what} has values of type {kind}; expected classes, by their names or by "
            "labels, which are whole numbers. Where some are missing, numbers get a point: remove these rows."
        )
    return [None if value is None else int(value) for value in values], None


def warn_of_positions(what: str, names: Sequence[str]) -> None:
    """Says that classes are matched by the order of their labels, where one side has no names."""
    logger.warning(
        "The classes of the %s have no names of their own, so their order decides: 0 is %r, and so on to %d, %r.",
        what,
        names[0],
        len(names) - 1,
        names[-1],
    )
