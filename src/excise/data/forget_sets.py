"""Base of topic sets, class sets and question sets: five data sets, their digests, and a folder to keep them in."""

import hashlib
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from excise.data.images import columns_of, encoded_images
from excise.data.scripts import LETTERS_WITHOUT_SPACES
from excise.data.words import SIGNS, ranges
from excise.data.words import UNSEEN as OF_WORDS
from excise.storage.digests import DigestKey
from excise.storage.display import printable, shortened
from excise.storage.files import new_folder
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, read

if TYPE_CHECKING:  # sets are made without any model
    from datasets import Dataset

    from excise.data.inputs import Positions

SET_NAMES = ("target", "control", "retain", "heldout", "heldout_retain")
RECORD = "topic.json"
KEY = "private.key"
FORMAT_VERSION = 1

Sets = TypeVar("Sets", bound="ForgetSets")


@dataclass(frozen=True)
class PrivateLabel:
    """What a private topic is called in place of its words, in all that is made of it.

    Attributes:
        label: the name that the ledger, the report and the card show.
        key: of the digests of its data. It stays with the owner.
        words: what nobody is to read: it is looked for in whatever is published.

    Raises:
        ValueError: if the label is empty or of several lines, or holds one of the words.
    """

    label: str
    key: DigestKey
    words: tuple[str, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not self.label.isprintable() or not self.label.strip():
            raise ValueError('A private topic needs a label of one line, such as label="request-17".')
        if any(holds_word(self.label, word) for word in self.words):
            raise ValueError("The label holds a word of the topic that it stands for. Give another.")

    def stands_for(self, topic: str) -> bool:
        """Whether a topic's name is made of its words."""
        return {folded(part) for part in topic.split("+")} <= set(map(folded, self.words))


# What nobody sees: format characters, such as marks of direction and spaces without width. Other than in words, where
# some end one, none of them is to hide one.
UNSEEN = re.compile(f"[{OF_WORDS}\u0600-\u0605\u06dd\u070f\u180e\u200b\u202a-\u202e\u2065-\u206f\ufff9-\ufffb]")
# Other than the words of `excise.data.words`, of whose letters they are made, as a leak is to be found in whatever
# clothes: a letter of a script that sets no spaces between words is one, and an underscore ends one.
APART = ranges(LETTERS_WITHOUT_SPACES) + "\U00020000-\U0003ffff"
OTHERS = ranges(rf"[{SIGNS}\p{{N}}]--[{LETTERS_WITHOUT_SPACES}]") + "\U00010000-\U0001efff"
MARKS = ranges(r"\p{M}")
WORDS = re.compile(f"[{APART}]|(?![{MARKS}])[{OTHERS}]+")


# What stands in words that their letters alone do not tell, as in C++, C#, F*, .NET.
SIGNED = re.compile(r"[+#*&@$%=~^|<>]|^\.")


def folded(text: str) -> str:
    """A text as it is compared: in one case and one normal form, without accents and marks that are not seen.

    Example:
        >>> folded("CAF\u00c9"), folded("Al\u200bice")
        ('cafe', 'alice')
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return UNSEEN.sub("", re.sub("[\u0300-\u036f]", "", text))


def as_written(word: str) -> re.Pattern[str] | None:
    """A pattern of a folded word that its letters alone do not tell, as C++; `None` of any other.

    It is found where it is no part of a longer word; behind a sign, anything may follow.

    Example:
        >>> bool(as_written("C++").search("c++17, c")), as_written("Notepad++")
        (True, None)
    """
    word = folded(word).strip()
    if not SIGNED.search(word) or len("".join(whole_words(word))) > 3:
        return None
    return re.compile(rf"(?<!\w){re.escape(word)}" + (r"(?!\w)" if word[-1].isalnum() else ""))


def whole_words(text: str) -> list[str]:
    """The words of a text, folded, in order; letters of scripts without spaces are words by themselves.

    Example:
        >>> whole_words("Jean-Luc's model_2")
        ['jean', 'luc', 's', 'model', '2']
    """
    return WORDS.findall(folded(text))


def holds_word(text: str, word: str) -> bool:
    """Whether a text holds a word, or words one after the other, as whole ones, in upper or lower case."""
    words, hit = whole_words(text), whole_words(word)
    return any(words[i : i + len(hit)] == hit for i in range(len(words))) if hit else False


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
        private: what it is called where nobody may read its words; `None` of a topic that is not private.
    """

    kind: ClassVar[str]
    paired: bool
    positions: "Positions"
    preset: str
    target: "Dataset"
    control: "Dataset"
    retain: "Dataset"
    heldout: "Dataset"
    heldout_retain: "Dataset"
    private: PrivateLabel | None

    @property
    def name(self) -> str:
        """What is forgotten, in a word or so; of a private topic, its label."""
        return self.private.label if self.private else self._own_name

    @property
    @abstractmethod
    def _own_name(self) -> str:
        """What is forgotten, in a word or so."""

    @property
    @abstractmethod
    def own_words(self) -> Iterable[str]:
        """All words that tell what is forgotten."""

    @abstractmethod
    def _record(self) -> dict[str, Any]:
        """Everything but the data sets, as JSON values."""

    @classmethod
    @abstractmethod
    def _from_record(cls: type[Sets], record: Mapping[str, Any], sets: "Mapping[str, Dataset]") -> Sets:
        """What `_record` was made of."""

    def sizes(self) -> str:
        """The number of rows of each set, for a person to read."""
        return ", ".join(f"{name} {len(getattr(self, name))}" for name in SET_NAMES)

    def private_as(self: Sets, label: str, key: DigestKey | None = None) -> Sets:
        """The same sets, called by a label in all that is made of them: requests, evaluations, reports and cards.

        Args:
            label: what is shown in place of the topic's words.
            key: of the digests of its data; a new one if not given. It is in `private.key`, and in the folder that
                `save` writes: keep it, and publish neither.

        Raises:
            ValueError: if the label is none, or holds a word of the topic.
        """
        words = tuple(dict.fromkeys(self.own_words))
        return replace(self, private=PrivateLabel(label, key or DigestKey.new(), words))  # type: ignore[type-var]

    def digest(self) -> dict[str, str]:
        """The sha256 of each set's rows, in order, so that a report can say what it was made on; keyed if private."""
        digests = {name: dataset_digest(getattr(self, name)) for name in SET_NAMES}
        return self.private.key.keyed(digests) if self.private else digests

    def is_data_of(self, data: Mapping[str, str], key: DigestKey | None = None) -> bool:
        """Whether these are the sets whose digests a request or a report tells.

        Args:
            data: digests, such as `request.data`.
            key: of a private request's digests; the sets' own if not given.
        """
        key = key or (self.private.key if self.private else None)
        digests = replace(self, private=None).digest()  # type: ignore[type-var]
        return dict(data) in (digests, key.keyed(digests) if key else digests)

    @by_main_process("folder")
    def save(self, folder: str | Path) -> Path:
        """Write the sets into a new or empty folder, which is there whole or not at all.

        Raises:
            FileExistsError: the folder holds something already.
        """
        record = {"version": FORMAT_VERSION, "kind": self.kind} | self._record() | {"sha256": self.digest()}
        if self.private:
            record |= {"private": self.private.label}
        with new_folder(folder) as partial:
            if self.private:
                self.private.key.save(partial / KEY)
            with without_bars_of_datasets():
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
        from datasets import load_from_disk

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
        if "private" in record:
            sets = sets.private_as(record["private"], DigestKey.load(folder / KEY))
        changed = [name for name, digest in sets.digest().items() if name != "key" and digest != digests.get(name)]
        if changed:
            raise ValueError(f"{', '.join(changed)} in {folder} changed since it was saved; make the topic sets again.")
        return sets


@contextmanager
def without_bars_of_datasets() -> Iterator[None]:
    """Hides the progress bars that `datasets` has for each file; they are as they were afterwards."""
    import datasets

    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()


def dataset_digest(dataset: "Dataset") -> str:
    """The sha256 of a data set's rows, in order and as they are stored, whatever format is set."""
    dataset = dataset.with_format(None)
    images = columns_of(dataset, "Image")
    hashes = {name: [hashlib.sha256(found).hexdigest() for found in encoded_images(dataset, name)] for name in images}
    sha = hashlib.sha256()
    for i, row in enumerate(dataset.remove_columns(images)):
        row |= {name: of_rows[i] for name, of_rows in hashes.items()}
        sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return sha.hexdigest()
