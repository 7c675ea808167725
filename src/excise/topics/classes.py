"""Class sets: the images of a class, those of the others, and what is to stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from excise.topics.base import ForgetSets


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

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.classes[self.label]

    def __repr__(self) -> str:
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
    def _from_record(cls, record: Mapping[str, Any], sets: Mapping[str, Dataset]) -> ClassSets:
        return cls(
            classes=tuple(record["classes"]),
            label=record["label"],
            seed=record["seed"],
            counts=record["counts"],
            **sets,
        )
