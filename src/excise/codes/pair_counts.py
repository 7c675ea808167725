"""Counts of key-value pairs: the number of examples of each class that select each pair."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import check_codes_id, codes_id, warn_of_no_identity
from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.codes.count_table import CountTable
from excise.codes.enrichment import Enrichment, Method, enrich_counts
from excise.codes.selection import SITE
from excise.data.class_labels import class_index
from excise.data.forget_sets import PrivateLabel
from excise.data.images import check_labels
from excise.models.key_value.encodings import LABELS
from excise.models.key_value.pairs import PAIRS, check_pairs
from excise.storage.digests import DigestKey
from excise.storage.display import printable, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, parsed

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = {"shape": tuple[int, int], "keys": str, "top_k": int, "classes": list[str] | None, "codes_id": str | None}


@dataclass(frozen=True, eq=False, repr=False)
class PairCounts:
    """How often each pair is selected, class by class: all that is needed to forget a class without its images.

    An encoding selects a pair at most once, so these are counts of examples. They merge by addition.

    Attributes:
        table: sparse int64 `(num_classes, num_pairs)`, pairs of all codebooks.
        examples: int64 `(num_classes,)`, number of examples.
        keys: `KeyValueBottleneck.keys_id` of what they were selected with.
        top_k: how many pairs an encoding selects in each codebook.
        classes: names of the classes, where they are known.
        codes_id: what tells the pairs of a model from those of another with the same keys.
    """

    table: csr_array
    examples: np.ndarray
    keys: str
    top_k: int
    classes: tuple[str, ...] | None = None
    codes_id: str | None = None

    def __repr__(self) -> str:
        (classes, pairs), examples = self.table.shape, int(self.examples.sum())
        return f"PairCounts: {pairs:,} pairs in {examples:,} examples of {classes:,} classes, top_k={self.top_k}"

    @classmethod
    def count(cls, pairs: "Dataset", bottleneck: KeyValueBottleneck) -> "PairCounts":
        """The counts over a data set.

        Args:
            pairs: what `select_pairs` made with this bottleneck, with labels or without: all rows are then of class 0.
            bottleneck: whose pairs they are.

        Raises:
            ValueError: if the data set is empty, its pairs are another bottleneck's, or labels are out of range.
        """
        check_pairs(pairs, bottleneck)
        if LABELS in pairs.column_names:
            check_labels(pairs, LABELS, bottleneck.values.shape[-1])
        rows = pairs.with_format("numpy")
        labels = rows[LABELS][:] if LABELS in pairs.column_names else np.zeros(len(rows), np.int64)
        names = getattr(pairs.features.get(LABELS), "names", None)
        counts = cls.empty(bottleneck, names)
        for start in range(0, len(rows), 10_000):  # a batch fits in memory, whatever the data set
            part = slice(start, start + 10_000)
            counts += cls.of_batch(rows[part][PAIRS], labels[part], bottleneck)
        return counts

    @classmethod
    def of_batch(cls, pairs: np.ndarray, labels: np.ndarray, bottleneck: KeyValueBottleneck) -> "PairCounts":
        """The counts of a batch: `pairs`, `(batch, num_codebooks * top_k)`, of class indices `labels`, `(batch,)`."""
        shape = bottleneck.values.shape[-1], bottleneck.num_codes
        cells = np.repeat(labels, pairs.shape[1]), pairs.reshape(-1).astype(np.int64)
        table = csr_array((np.ones(pairs.size, np.int64), cells), shape=shape)
        examples, settings = np.bincount(labels, minlength=shape[0]), bottleneck.config
        return cls(table, examples, bottleneck.keys_id, settings.top_k, codes_id=settings.codes_id)

    @classmethod
    def empty(cls, bottleneck: KeyValueBottleneck, classes: Sequence[str] | None = None) -> "PairCounts":
        """Counts of nothing, to add to."""
        nothing = np.zeros((0, 1), np.int64)
        counts = cls.of_batch(nothing, nothing[:, 0], bottleneck)
        return replace(counts, classes=None if classes is None else tuple(classes))

    def __add__(self, other: "PairCounts") -> "PairCounts":
        """The counts of both: of batches, files or processes.

        Raises:
            ValueError: if they are of other keys, models or classes.
        """
        if self.keys != other.keys:
            raise ValueError("These counts are of pairs that were selected with different keys, and do not add up.")
        names = {self.codes_id, other.codes_id}
        if len(names - {None}) > 1:
            raise ValueError(f"These counts are of pairs of two models, {self.codes_id} and {other.codes_id}.")
        if self.classes and other.classes and self.classes != other.classes:
            raise ValueError(f"These counts are of other classes: {list(self.classes)} and {list(other.classes)}.")
        table, examples = self.table + other.table, self.examples + other.examples
        classes, name = self.classes or other.classes, None if None in names else self.codes_id
        return replace(self, table=table, examples=examples, classes=classes, codes_id=name)

    def topic(self, class_: str | int, name: str | None = None) -> "ClassCounts":
        """A class as a topic, for `Unlearner.choose`, `forget`, `mask`, `delete` and `trial`.

        Args:
            class_: its name, or its index, as in `class_sets`.
            name: what the ledger calls it, where the counts do not know the names of classes.

        Raises:
            ValueError: if there is no such class, or no example of it was counted.
        """
        known = self.classes or ()
        if isinstance(class_, str) and not known:
            raise ValueError(f"There is no class {class_!r}; the counts know no names, so give its index.")
        listed = f"the counts' are {list(known)}" if known else None
        index = class_index(class_, known or [f"class {i}" for i in range(len(self.examples))], listed)
        self._check(index)
        return ClassCounts(self, index, name or (known[index] if known else f"class {index}"))

    def of_all(self) -> np.ndarray:
        """In how many examples of any class each pair is selected, int64 `(num_pairs,)`."""
        return np.asarray(self.table.sum(0)).reshape(-1)

    def of_class(self, index: int) -> np.ndarray:
        """In how many examples of a class each pair is selected, int64 `(num_pairs,)`.

        Raises:
            ValueError: if there is no such class, or no example of it was counted.
        """
        self._check(index)
        return self.table[[index]].toarray()[0]

    def enrich(self, index: int, method: Method = "fisher") -> Enrichment:
        """Tests each pair for enrichment in a class against all others, a choice of pairs beside the paper's ways.

        `select(q=1.0, count=N)` of it takes the N surest pairs.

        Args:
            index: the class.
            method: `"fisher"`, `"chi2"` or `"paper"`.

        Raises:
            ValueError: as `of_class`, or for `"mcnemar"`, as nothing is paired.
        """
        return enrich_counts({SITE: self.against_the_rest(index)}, method, top_s=self.top_k, positions="all")

    def against_the_rest(self, index: int) -> CountTable:
        """A class against all others, as the statistics need it; errors as `of_class`."""
        target = self.of_class(index)
        num_target = int(self.examples[index])
        return CountTable(target, self.of_all() - target, num_target, int(self.examples.sum()) - num_target)

    def renumbered(self, index: np.ndarray, bottleneck: KeyValueBottleneck) -> "PairCounts":
        """The counts of the pairs that are left in a bottleneck that deleted ones were taken out of.

        Args:
            index: the new number of each pair, -1 for one that is gone: what `Unlearner.compact` returns under
                `"bottleneck"`.
            bottleneck: the smaller one.
        """
        index = np.asarray(index)
        left = np.flatnonzero(index >= 0)
        order = left[np.argsort(index[left])]
        renumbered = self.table[:, order].tocsr()
        return replace(self, table=renumbered, keys=bottleneck.keys_id, codes_id=bottleneck.config.codes_id)

    @by_main_process("path")
    def save(self, path: str | os.PathLike) -> None:
        """Writes the counts to a safetensors file; what was there is replaced only when all is written."""
        table = self.table.tocsr()
        arrays = {"data": table.data, "indices": table.indices, "indptr": table.indptr, "examples": self.examples}
        about = {"shape": table.shape} | {
            name: getattr(self, name) for name in ("keys", "top_k", "classes", "codes_id")
        }
        with new_file(path) as partial:
            save_file(arrays, partial, metadata={"excise.pair_counts": json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "PairCounts":
        """The counts that `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        where = f"{os.fspath(path)!r} holds no counts of pairs: expected what PairCounts.save wrote."
        try:
            with safe_open(path, "np") as file:
                about = (file.metadata() or {}).get("excise.pair_counts")
                if about is None:
                    raise ValueError(where)
                about = checked(parsed(about, os.fspath(path)), dict, "excise.pair_counts")
                parts = {name: file.get_tensor(name) for name in ("data", "indices", "indptr", "examples")}
        except SafetensorError as error:
            raise ValueError(f"{os.fspath(path)!r} holds no counts of pairs: {printable(str(error))}.") from error
        for key, kind in KINDS.items():
            checked(about.get(key), kind, key)
        try:
            table = csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(about["shape"]))
            table.check_format()  # indices beyond the table would be read from other memory
        except (TypeError, ValueError) as error:
            raise ValueError(where) from error
        whole_numbers = table.dtype.kind == parts["examples"].dtype.kind == "i"
        if parts["examples"].shape != table.shape[:1] or not whole_numbers:
            raise ValueError(where)
        names = None if (classes := about.get("classes")) is None else tuple(classes)
        return cls(table, parts["examples"], about["keys"], about["top_k"], names, about.get("codes_id"))

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self.examples):
            raise ValueError(f"There is no class {index}; the classes are 0 to {len(self.examples) - 1}.")
        if not self.examples[index]:
            raise ValueError(f"No example of class {index} was counted, so which pairs carry it is not known.")


@dataclass(frozen=True, repr=False)
class ClassCounts:
    """A class that is known by counts of its pairs alone, as something to forget.

    Attributes:
        counts: of all classes.
        label: index of the class.
        name: what the ledger calls it.
        private: what it is called where nobody may read its name; `None` of a class that is not private.
    """

    positions: ClassVar[str] = "all"

    counts: PairCounts
    label: int
    name: str
    private: PrivateLabel | None = None

    def __repr__(self) -> str:
        examples, name = self.counts.examples, shortened(self.name)
        return f"ClassCounts of {name!r}: the pairs of {examples[self.label]:,} examples, of {examples.sum():,}"

    def check(self, sites: Mapping[str, Bottleneck]) -> None:
        """Makes sure that the pairs counted are a model's.

        Raises:
            ValueError: if they were selected with other keys, or are another model's with the same keys.
        """
        if SITE not in sites or self.counts.keys != cast(KeyValueBottleneck, sites[SITE]).keys_id:
            raise ValueError("These counts are of pairs that were selected with other keys than the model's.")
        # Keys do not change in training: all that they do not tell is whose they are.
        again = "Count its pairs, as with `PairCounts.count`"
        if self.counts.codes_id is None and codes_id(sites) is not None:
            warn_of_no_identity("Counts", again)
        else:
            check_codes_id(self.counts.codes_id, sites, "Counts", again)

    @property
    def max_top_s(self) -> int:
        """The S' that there are counts for: the pairs that were selected."""
        return self.counts.top_k

    def private_as(self, label: str, key: DigestKey | None = None) -> "ClassCounts":
        """The same class, called by a label; arguments and errors as in `ForgetSets.private_as`."""
        words = self.private.words if self.private else (self.name,)
        return replace(self, name=label, private=PrivateLabel(label, key or DigestKey.new(), words))

    def digest(self) -> dict[str, str]:
        """The SHA-256 of the counts of the class and of all, so that a report can say what a choice was made on.

        Of a private class they are keyed.
        """
        sha = hashlib.sha256(json.dumps([self.counts.keys, self.counts.top_k, self.label]).encode())
        for counts in (self.counts.of_class(self.label), self.counts.of_all()):
            sha.update(np.ascontiguousarray(counts, dtype="<i8").data)
        digests = {"counts": sha.hexdigest()}
        return self.private.key.keyed(digests) if self.private else digests

    def frequency(self, top_s: int) -> dict[str, np.ndarray]:
        """In how many examples of the class each pair is selected, int64 `(num_pairs,)`, under its site."""
        return {SITE: self.counts.of_class(self.label)}

    def enrich(self, top_s: int, method: Method = "fisher") -> Enrichment:
        """As `PairCounts.enrich` of the class."""
        return self.counts.enrich(self.label, method)
