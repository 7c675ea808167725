"""In how many examples of each class each pair is selected."""

import json
import os
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from excise.bottlenecks import KeyValueBottleneck
from excise.codes.count_table import CountTable
from excise.codes.enrichment import Enrichment, Method, enrich_counts
from excise.codes.selection import SITE
from excise.data.images import check_labels
from excise.models.key_value.encodings import LABELS
from excise.models.key_value.pairs import PAIRS, check_pairs
from excise.storage.files import new_file


@dataclass(frozen=True, eq=False)
class PairCounts:
    """How often each pair is selected, class by class: all that is needed to forget a class without its images.

    An encoding selects a pair at most once, so these are counts of examples. They merge by addition.

    Attributes:
        table: sparse int64 `(num_classes, num_pairs)`, pairs of all codebooks.
        examples: int64 `(num_classes,)`, number of examples.
        keys: `KeyValueBottleneck.keys_id` of what they were selected with.
        top_k: how many pairs an encoding selects in each codebook.
    """

    table: csr_array
    examples: np.ndarray
    keys: str
    top_k: int

    @classmethod
    def count(cls, pairs: Dataset, bottleneck: KeyValueBottleneck) -> "PairCounts":
        """The counts over a data set.

        Args:
            pairs: what `select_pairs` made with this bottleneck, with labels or without: all rows are then of class 0.
            bottleneck: whose pairs they are.

        Raises:
            ValueError: if the data set is empty, its pairs are another bottleneck's, or labels are out of range.
        """
        check_pairs(pairs, bottleneck)
        if LABELS in pairs.column_names:
            check_labels(pairs, LABELS, bottleneck.config.value_dim)
        rows = pairs.with_format("numpy")
        labels = rows[LABELS][:] if LABELS in pairs.column_names else np.zeros(len(rows), np.int64)
        counts = cls.empty(bottleneck)
        for start in range(0, len(rows), 10_000):  # a batch fits in memory, whatever the data set
            part = slice(start, start + 10_000)
            counts += cls.of_batch(rows[part][PAIRS], labels[part], bottleneck)
        return counts

    @classmethod
    def of_batch(cls, pairs: np.ndarray, labels: np.ndarray, bottleneck: KeyValueBottleneck) -> "PairCounts":
        """The counts of a batch: `pairs`, `(batch, num_codebooks * top_k)`, of class indices `labels`, `(batch,)`."""
        shape = bottleneck.config.value_dim, bottleneck.num_codes
        cells = np.repeat(labels, pairs.shape[1]), pairs.reshape(-1).astype(np.int64)
        table = csr_array((np.ones(pairs.size, np.int64), cells), shape=shape)
        return cls(table, np.bincount(labels, minlength=shape[0]), bottleneck.keys_id, bottleneck.config.top_k)

    @classmethod
    def empty(cls, bottleneck: KeyValueBottleneck) -> "PairCounts":
        """Counts of nothing, to add to."""
        nothing = np.zeros((0, 1), np.int64)
        return cls.of_batch(nothing, nothing[:, 0], bottleneck)

    def __add__(self, other: "PairCounts") -> "PairCounts":
        """The counts of both: of batches, files or processes.

        Raises:
            ValueError: if they are of other keys.
        """
        if self.keys != other.keys:
            raise ValueError("These counts are of pairs that were selected with different keys, and do not add up.")
        return PairCounts(self.table + other.table, self.examples + other.examples, self.keys, self.top_k)

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
        return PairCounts(self.table[:, order].tocsr(), self.examples, bottleneck.keys_id, self.top_k)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the counts to a safetensors file; what was there is replaced only when all is written."""
        table = self.table.tocsr()
        arrays = {"data": table.data, "indices": table.indices, "indptr": table.indptr, "examples": self.examples}
        about = {"shape": table.shape, "keys": self.keys, "top_k": self.top_k}
        with new_file(path) as partial:
            save_file(arrays, partial, metadata={"excise.pair_counts": json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "PairCounts":
        """The counts that `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        with safe_open(path, "np") as file:
            about = (file.metadata() or {}).get("excise.pair_counts")
            if about is None:
                raise ValueError(f"{os.fspath(path)!r} holds no counts of pairs: expected what PairCounts.save wrote.")
            about = json.loads(about)
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        table = csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=about["shape"])
        return cls(table, parts["examples"], about["keys"], about["top_k"])

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self.examples):
            raise ValueError(f"There is no class {index}; the classes are 0 to {len(self.examples) - 1}.")
        if not self.examples[index]:
            raise ValueError(f"No example of class {index} was counted, so which pairs carry it is not known.")
