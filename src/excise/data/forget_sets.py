"""Base of topic sets and class sets: five data sets, their digests, and a folder to keep them in."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from datasets import Dataset, Image, load_from_disk

from excise.data.images import encoded_images
from excise.data.inputs import Positions
from excise.storage.display import printable, shortened
from excise.storage.files import new_folder
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, read

SET_NAMES = ("target", "control", "retain", "heldout", "heldout_retain")
RECORD = "topic.json"
FORMAT_VERSION = 1

Sets = TypeVar("Sets", bound="ForgetSets")


class ForgetSets(ABC):
    """The sets of what is to be forgotten: for selecting codes (the first three), and for evaluating.

    Attributes:
        kind: what is forgotten, as it stands in a saved record.
        paired: whether row i of the control is row i of the target, changed.
        positions: the tokens at which target and control are counted, where nothing else is asked for.
        preset: how codes are searched for, where nothing else is asked for.
        target: D_T.
        control: what the target is held against.
        retain: D_R for selecting.
        heldout: D'_T for evaluating.
        heldout_retain: D_R for evaluating.
    """

    kind: ClassVar[str]
    paired: ClassVar[bool]
    positions: ClassVar[Positions]
    preset: ClassVar[str]
    target: Dataset
    control: Dataset
    retain: Dataset
    heldout: Dataset
    heldout_retain: Dataset

    @property
    @abstractmethod
    def name(self) -> str:
        """What is forgotten, in a word or so."""

    @abstractmethod
    def _record(self) -> dict[str, Any]:
        """Everything but the data sets, as JSON values."""

    @classmethod
    @abstractmethod
    def _from_record(cls: type[Sets], record: Mapping[str, Any], sets: Mapping[str, Dataset]) -> Sets:
        """What `_record` was made of."""

    def sizes(self) -> str:
        """The number of rows of each set, for a person to read."""
        return ", ".join(f"{name} {len(getattr(self, name))}" for name in SET_NAMES)

    def digest(self) -> dict[str, str]:
        """The sha256 of each set's rows, in order, so that a report can say what it was made on."""
        return {name: dataset_digest(getattr(self, name)) for name in SET_NAMES}

    @by_main_process("folder")
    def save(self, folder: str | Path) -> Path:
        """Write the sets into a new or empty folder, which is there whole or not at all.

        Raises:
            FileExistsError: the folder holds something already.
        """
        record = {"version": FORMAT_VERSION, "kind": self.kind} | self._record() | {"sha256": self.digest()}
        with new_folder(folder) as partial:
            for name in SET_NAMES:
                getattr(self, name).save_to_disk(str(partial / name))
            (partial / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return Path(folder)

    @classmethod
    def load(cls: type[Sets], folder: str | Path) -> Sets:
        """Read what `save` wrote, and check it against the digests written beside it.

        Raises:
            ValueError: there are no sets of this kind in the folder, or they were changed or written by a newer
                version.
        """
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            raise ValueError(f"No topic sets in {folder}: {RECORD} is missing; save some there first.")
        record = checked(read(folder / RECORD), dict[str, Any], RECORD)
        digests = checked(record.get("sha256"), dict[str, str], f"sha256 in {RECORD}")
        if record.get("version") != FORMAT_VERSION:
            raise ValueError(
                f"{folder} has format {shortened(repr(record.get('version')))}; this excise reads {FORMAT_VERSION}."
            )
        kind = record.get("kind", "words")  # the only one that there was before records told
        if kind != cls.kind:
            raise ValueError(
                f"{folder} holds sets of {printable(shortened(kind))}, which {cls.__name__} does not load."
            )
        rows = {name: load_from_disk(str(folder / name)) for name in SET_NAMES}
        try:
            sets = cls._from_record(record, rows)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / RECORD} is not what `save` writes: {shortened(repr(error))}.") from error
        changed = [name for name, digest in sets.digest().items() if digest != digests.get(name)]
        if changed:
            raise ValueError(f"{', '.join(changed)} in {folder} changed since it was saved; make the topic sets again.")
        return sets


def dataset_digest(dataset: Dataset) -> str:
    """The sha256 of a data set's rows, in order and as they are stored, whatever format is set."""
    dataset = dataset.with_format(None)
    images = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    hashes = {name: [hashlib.sha256(found).hexdigest() for found in encoded_images(dataset, name)] for name in images}
    sha = hashlib.sha256()
    for i, row in enumerate(dataset.remove_columns(images)):
        row |= {name: of_rows[i] for name, of_rows in hashes.items()}
        sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return sha.hexdigest()
