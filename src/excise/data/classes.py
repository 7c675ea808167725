"""Class sets: the images of a class, those of the others, and what is to stay."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image

from excise.data.class_labels import class_index, class_labels
from excise.data.forget_sets import ForgetSets, PrivateLabel
from excise.data.images import check_readable, encoded_images, image_column, label_column, to_rgb, warn_of_darkness
from excise.data.reading import as_rows
from excise.storage.expected import expects

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class ClassSets(ForgetSets):
    """The sets of one class of images, for selecting codes and for evaluating.

    Each is a `Dataset` with the columns ``image`` and ``label``, which is an index into `classes`.

    Attributes:
        classes: the names of all classes, in the order of their labels.
        label: the class to forget.
        seed: of sampling.
        target: images of the class.
        control: images of the other classes; not paired with the target's.
        retain: other images of the other classes, for selecting.
        heldout: images of the class for evaluating; none that is in the data set of the first three.
        heldout_retain: images of the other classes for evaluating.
        counts: how many images were found, dropped and left out on the way.
        private: as in `ForgetSets`.
    """

    kind = "classes"
    paired = False
    positions = "all"
    preset = "class"

    classes: tuple[str, ...]
    label: int
    seed: int
    target: Dataset
    control: Dataset
    retain: Dataset
    heldout: Dataset
    heldout_retain: Dataset
    counts: Mapping[str, int] = field(default_factory=dict)
    private: PrivateLabel | None = None

    @property
    def _own_name(self) -> str:
        """The name of the class."""
        return self.classes[self.label]

    @property
    def own_words(self) -> Iterable[str]:
        """The name of the class."""
        return (self._own_name,)

    def __repr__(self) -> str:
        if self.private:
            return f"Class {self.name!r} (private), seed {self.seed}\n  images: {self.sizes()}"
        lines = [
            f"Class {self.name!r} (label {self.label} of {len(self.classes)} classes), seed {self.seed}",
            f"  images: {self.sizes()}",
        ]
        if self.counts:
            lines.append("  " + ", ".join(f"{key} {value}" for key, value in self.counts.items()))
        return "\n".join(lines)

    def _record(self) -> dict[str, Any]:
        return {"classes": self.classes, "label": self.label, "seed": self.seed, "counts": dict(self.counts)}

    @classmethod
    def _from_record(cls, record: Mapping[str, Any], sets: Mapping[str, Dataset]) -> "ClassSets":
        return cls(
            classes=tuple(record["classes"]),
            label=record["label"],
            seed=record["seed"],
            counts=record["counts"],
            **sets,
        )


# Without a test set, this share of the images is held out, by a hash of each image.
HELDOUT_SHARE = 0.3


@expects("seed", max_examples="whole", max_retain="whole", min_examples="whole")
def class_sets(
    dataset: Dataset,
    name_or_index: str | int,
    *,
    image: str | None = None,
    label: str | None = None,
    classes: Any = None,
    test: Dataset | None = None,
    max_examples: int = 500,
    max_retain: int = 1000,
    min_examples: int = 20,
    seed: int = 0,
    value_range: tuple[float, float] | None = None,
) -> ClassSets:
    """Target, control and retain sets for selecting, and others for evaluating, disjoint by image.

    The target is images of the class; control and retain set are different images of the other classes. Of images that
    are the same to the byte the first counts.

    Args:
        dataset: where the sets for selecting come from, such as the images that the model was trained on: a data set,
            or whatever `load_rows` reads.
        name_or_index: the class, by its name or its label.
        image: the image column; the only one if not given.
        label: the column of labels, or of the names of classes; the one of type `ClassLabel` if not given.
        classes: all names in the order of the labels, as a list or `config.id2label`; not needed of a column that has
            names, whose order it then sets.
        test: where the held-out sets come from. Its images that are in `dataset` too are dropped. Without it, 30 % of
            the images of `dataset` are held out, chosen by their hash. Its classes go by their names.
        max_examples: the most images in `target` and in `heldout`.
        max_retain: the most images in `control`, in `retain` and in `heldout_retain`.
        min_examples: the fewest images that each set may have.
        seed: of sampling.
        value_range: the values of black and white, for images of more than 8 bits whose range is not known, and for
            arrays: the sets' images are then RGB of 8 bits, as by `to_rgb`.

    Returns:
        The sets. Printing them shows their sizes.

    Raises:
        ValueError: an empty data set, a column that is not there, a class that is not there, labels out of range, too
            few images in a set, or a test set that is contained in `dataset`.
    """
    for size_name, size in {
        "max_examples": max_examples,
        "max_retain": max_retain,
        "min_examples": min_examples,
    }.items():
        if size < 1:
            raise ValueError(f"{size_name} must be at least 1, got {size}.")
    dataset = as_rows(dataset)
    test = None if test is None else as_rows(test, "test set")
    if value_range is not None:
        dataset = to_rgb(dataset, value_range, image=image)
        test = test and to_rgb(test, value_range, image=image if image in test.column_names else None)
    image = image_column(dataset, image)
    label, labels, names = class_labels(dataset, label, classes)
    wanted = class_index(name_or_index, names)
    given = Labelled(dataset, image, label, labels)
    found = _labels_by_image(given, names)
    counts = {"in the data set": len(dataset), "repeated": len(dataset) - len(found)}
    if wanted not in {of_class for _, of_class in found.values()}:
        raise ValueError(f"None of the {len(dataset)} images is of class {names[wanted]!r}.")
    if test is None:
        source, held = given, {key: row for key, row in found.items() if _share(key) < HELDOUT_SHARE}
        found = {key: row for key, row in found.items() if key not in held}
    else:
        of_test, test_labels, _ = class_labels(test, label if label in test.column_names else None, names, "test set")
        test_image = image_column(test, image if image in test.column_names else None)
        source = Labelled(test, test_image, of_test, test_labels)
        held = _labels_by_image(source, names)
        there = len(held)
        held = {key: row for key, row in held.items() if key not in found}
        counts["test images dropped (in the data set too)"] = there - len(held)
        if not held:
            raise ValueError(
                f"All {there} images of the test set are in the data set as well; give other images, or leave test "
                "out to have some held out."
            )

    rng = np.random.default_rng(seed)
    others = _rows(found, wanted, rng, other=True)
    half = min(max_retain, len(others) // 2)  # few images are shared out evenly
    chosen = {
        "target": (given, _rows(found, wanted, rng)[:max_examples]),
        "control": (given, others[:half]),
        "retain": (given, others[half : half + max_retain]),
        "heldout": (source, _rows(held, wanted, rng)[:max_examples]),
        "heldout_retain": (source, _rows(held, wanted, rng, other=True)[:max_retain]),
    }
    few = {name: len(rows) for name, (_, rows) in chosen.items() if len(rows) < min_examples}
    if few:
        listed = ", ".join(f"{count} in {name}" for name, count in few.items())
        raise ValueError(
            f"Too few images for class {names[wanted]!r}: {listed}; each set needs min_examples={min_examples}. "
            "Give more images, or lower min_examples."
        )
    for of_images, rows in chosen.values():
        check_readable(of_images.dataset, of_images.image, rows)
    sets = {name: _dataset(of_images, rows, names) for name, (of_images, rows) in chosen.items()}
    warn_of_darkness(sets["control"], "image")
    return ClassSets(classes=names, label=wanted, seed=seed, counts=counts, **sets)


def class_column(dataset: Dataset, label: str | None = None) -> str:
    """The name of a data set's column of class labels, with names: the one asked for, or the only one there is.

    Raises:
        ValueError: if there is no such column, or which one is meant is not clear.
    """
    found = label_column(dataset, label)
    if found is None or not isinstance(dataset.features[found], ClassLabel):
        raise ValueError(
            f"There is no column {label or 'of labels'!r} that has the names of its classes; make one with "
            "`dataset.cast_column(name, datasets.ClassLabel(names=[...]))`."
        )
    return found


class Labelled(NamedTuple):
    """A data set with the labels of its rows.

    Args:
        dataset: the rows.
        image: the column of images.
        label: the column that the labels were read from.
        labels: of each row, `None` where it has none.
    """

    dataset: Dataset
    image: str
    label: str
    labels: Sequence[int | None]


def _labels_by_image(given: Labelled, names: Sequence[str]) -> dict[bytes, tuple[int, int]]:
    """By the hash of an image, its row and label; the first row of those that are the same."""
    found: dict[bytes, tuple[int, int]] = {}
    twice: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, (of_class, encoded) in enumerate(
        zip(given.labels, encoded_images(given.dataset, given.image), strict=True)
    ):
        if of_class is None or not 0 <= of_class < len(names):
            raise ValueError(
                f"Row {row} has label {of_class}, which is out of range: there are {len(names)} classes, from 0. "
                "Remove rows without a class."
            )
        first = found.setdefault(hashlib.sha256(encoded).digest(), (row, of_class))
        if first[1] != of_class:
            twice.setdefault((first[1], of_class), []).append((first[0], row))
    for (one, other), rows in twice.items():
        logger.warning(
            "%d image(s) are there as %r and as %r, such as rows %d and %d: the first label counts. Remove the wrong "
            "one.",
            len(rows),
            names[one],
            names[other],
            *rows[0],
        )
    return found


def _share(key: bytes) -> float:
    return int.from_bytes(key[:4], "big") / 2**32


def _rows(found: dict[bytes, tuple[int, int]], wanted: int, rng: np.random.Generator, other: bool = False) -> list[int]:
    """The rows of a class, or of the others, in random order."""
    rows = [row for row, of_class in found.values() if (of_class == wanted) != other]
    return [rows[i] for i in rng.permutation(len(rows))]


def _dataset(given: Labelled, rows: Sequence[int], names: Sequence[str]) -> Dataset:
    """Some rows with the columns `image` and `label`, whose classes have these names in this order."""
    feature = given.dataset.features[given.label]
    chosen = given.dataset.with_format(None).select(rows).select_columns([given.image, given.label])
    if tuple(getattr(feature, "names", ())) != tuple(names):
        stored = chosen.cast_column(given.image, Image(decode=False))[given.image][:]
        columns = {given.image: stored, given.label: [given.labels[row] for row in rows]}
        types = {given.image: given.dataset.features[given.image], given.label: ClassLabel(names=list(names))}
        chosen = Dataset.from_dict(columns, features=Features(types))
    renamed = ((given.image, "image"), (given.label, "label"))
    return chosen.rename_columns({old: new for old, new in renamed if old != new})
