"""Topic sets: the sentences of a topic, their control, and what is to stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, load_from_disk

from excise.files import new_folder

SET_NAMES = ("target", "control", "retain", "heldout", "heldout_retain")
_RECORD = "topic.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True, repr=False)
class TopicSets:
    """The sets of one topic, for selecting codes and for evaluating.

    Each is a `Dataset` with the columns ``text`` (str), ``spans`` ([start, end) character pairs of the topic word, or
    of its replacement; none in the retain sets) and, where there are references, ``reference`` (str).

    Attributes:
        words: the words asked for.
        inflections: every form that was looked for.
        text: the name of the source column.
        reference: the name of the reference column, if any.
        seed: of sampling and replacement.
        target: D_T.
        control: row i is row i of `target` with each topic word replaced. Its references are the target's, unchanged.
        retain: D_R for selecting.
        heldout: D'_T for evaluating; no source text of the first three is in it.
        heldout_retain: D_R for evaluating.
        counts: how many rows were found, skipped and dropped on the way.
        prefix: what each text starts with, before the source text.
    """

    words: tuple[str, ...]
    inflections: tuple[str, ...]
    text: str
    reference: str | None
    seed: int
    target: Dataset
    control: Dataset
    retain: Dataset
    heldout: Dataset
    heldout_retain: Dataset
    counts: Mapping[str, int] = field(default_factory=dict)
    prefix: str = ""

    @property
    def name(self) -> str:
        """The topic in one word, or several joined by a plus sign."""
        return "+".join(self.words)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(getattr(self, name))}" for name in SET_NAMES)
        lines = [
            f"Topic {self.name!r} ({', '.join(self.inflections)}) in column {self.text!r}, seed {self.seed}",
            f"  rows: {sizes}",
        ]
        if self.counts:
            lines.append("  " + ", ".join(f"{key} {value}" for key, value in self.counts.items()))
        step = max(1, len(self.target) // 10)
        for row in list(range(0, len(self.target), step))[:10]:
            lines += [f"  - {self.target[row]['text']}", f"    {self.control[row]['text']}"]
        return "\n".join(lines)

    def digest(self) -> dict[str, str]:
        """The sha256 of each set's rows, in order, so that a report can say what it was made on."""
        return {name: _digest(getattr(self, name)) for name in SET_NAMES}

    def save(self, folder: str | Path) -> Path:
        """Write the sets into a new or empty folder, which is there whole or not at all.

        Raises:
            FileExistsError: the folder holds something already.
        """
        record = {
            "version": _FORMAT_VERSION,
            "words": self.words,
            "inflections": self.inflections,
            "text": self.text,
            "reference": self.reference,
            "seed": self.seed,
            "counts": dict(self.counts),
            "prefix": self.prefix,
            "sha256": self.digest(),
        }
        with new_folder(folder) as partial:
            for name in SET_NAMES:
                getattr(self, name).save_to_disk(str(partial / name))
            (partial / _RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> TopicSets:
        """Read what `save` wrote, and check it against the digests written beside it.

        Raises:
            ValueError: there are no topic sets in the folder, or they were changed or written by a newer version.
        """
        folder = Path(folder)
        if not (folder / _RECORD).is_file():
            raise ValueError(f"no topic sets in {folder}: {_RECORD} is missing; save some there first")
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["version"] != _FORMAT_VERSION:
            raise ValueError(f"{folder} has format {record['version']}; this excise reads {_FORMAT_VERSION}")
        sets = {name: load_from_disk(str(folder / name)) for name in SET_NAMES}
        topic = cls(
            words=tuple(record["words"]),
            inflections=tuple(record["inflections"]),
            text=record["text"],
            reference=record["reference"],
            seed=record["seed"],
            counts=record["counts"],
            prefix=record.get("prefix", ""),
            **sets,
        )
        changed = [name for name, digest in topic.digest().items() if digest != record["sha256"][name]]
        if changed:
            raise ValueError(f"{', '.join(changed)} in {folder} changed since it was saved; make the topic sets again")
        return topic


def _digest(dataset: Dataset) -> str:
    sha = hashlib.sha256()
    for row in dataset:
        sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return sha.hexdigest()
