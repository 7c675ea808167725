"""Streaming counts of the codes that examples use, for every S' at once (CodeUnlearn, eqs. 9 and 10)."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from excise.bottlenecks.identity import Identity, joined
from excise.codes.count_table import CountTable
from excise.storage.display import printable
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, parsed

# The key of the numbers in a saved file; its name is of version 0.1.
METADATA = "excise.usage"


class BestRanks(NamedTuple):
    """The best rank that each code reaches in each example of a batch, for codes that any of its inputs ranks.

    Args:
        cells: int64, ascending: example * num_codes + code.
        ranks: int64 of the same length, 0 for the most similar.
        num_examples: examples in the batch, those without a ranked code included.
    """

    cells: Tensor
    ranks: Tensor
    num_examples: int


def best_ranks(
    codes: Int64[Tensor, "inputs max_top_s"], rows: Int64[Tensor, "inputs"], num_examples: int, num_codes: int
) -> BestRanks:
    """The best rank of each code in each example.

    Args:
        codes: the codes of each input, most similar first; -1 for none.
        rows: the example of each input.
        num_examples: examples in the batch, those without an input included.
        num_codes: size of the codebook.

    Example:
        >>> ranked = best_ranks(torch.tensor([[2, 0], [0, 1]]), torch.tensor([0, 0]), 1, 4)
        >>> ranked.cells.tolist(), ranked.ranks.tolist()
        ([0, 1, 2], [0, 1, 0])
    """
    max_top_s = codes.shape[1]
    order = torch.arange(max_top_s, device=codes.device).expand_as(codes)
    keys = (((rows[:, None] * num_codes + codes) * max_top_s + order)[codes >= 0]).sort().values
    cells = keys // max_top_s
    first = torch.ones_like(cells, dtype=torch.bool)
    first[1:] = cells[1:] != cells[:-1]
    return BestRanks(cells[first], keys[first] % max_top_s, num_examples)


@dataclass(frozen=True, repr=False)
class CodeCounts:
    """In how many examples each code is among the S' most similar, for each S'.

    What is kept is a histogram of ranks: an example counts at the best rank that a code reaches in it. Its running sum
    over ranks is the count for every S'. Counts are integers, so that states add up exactly in any order.

    Attributes:
        examples: int64 `(max_top_s, num_codes)`; in row r, examples in which the code's best rank is r (0 is best).
        num_examples: examples counted.
        identity: of the model whose codes were counted; `None` where it is not known.
    """

    examples: Tensor
    num_examples: int = 0
    identity: Identity | None = None

    def __repr__(self) -> str:
        max_top_s, num_codes = self.examples.shape
        return f"CodeCounts: {num_codes:,} codes in {self.num_examples:,} examples, for S′ up to {max_top_s:,}"

    @classmethod
    def empty(cls, num_codes: int, max_top_s: int) -> "CodeCounts":
        """Counts of nothing, to add to."""
        return cls(torch.zeros(max_top_s, num_codes, dtype=torch.int64))

    def add_batch_(self, ranks: BestRanks) -> "CodeCounts":
        """These counts and those of one more batch, which are written into this table: go on with what is returned.

        A batch touches few of a table's millions of cells; adding tables would take longer than looking up the codes.

        Args:
            ranks: of the batch, from `best_ranks`.
        """
        _count_(self.examples, ranks.cells, ranks.ranks)
        return replace(self, num_examples=self.num_examples + ranks.num_examples)

    def __add__(self, other: "CodeCounts") -> "CodeCounts":
        """The counts of both: of batches, files or processes.

        Raises:
            ValueError: if they are of other codebooks, another model or another largest S'.
        """
        if self.examples.shape != other.examples.shape:
            raise ValueError(
                f"Counts of shape {tuple(self.examples.shape)} and {tuple(other.examples.shape)} (largest S', number "
                "of codes) do not add up. Count both with the same model and `max_top_s`."
            )
        examples, identity = self.num_examples + other.num_examples, joined(self.identity, other.identity)
        return CodeCounts(self.examples + other.examples, examples, identity)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the counts to a safetensors file; what was there is replaced only when all is written."""
        _save(path, vars(self) | {"identity": None if self.identity is None else self.identity.to_dict()})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "CodeCounts":
        """The counts that `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        parts = _load(path, ("examples", "num_examples"))
        return cls(parts["examples"], parts["num_examples"], Identity.from_dict(parts["identity"]))

    @property
    def max_top_s(self) -> int:
        """The largest S' that there are counts for."""
        return len(self.examples)

    def example_counts(self, top_s: int) -> Int64[Tensor, "num_codes"]:
        """In how many examples each code is among the `top_s` most similar of any token."""
        return _running_sum(self.examples, top_s)


@dataclass(frozen=True, repr=False)
class PairedCounts:
    """Counts over targets and controls, which come in pairs or apart.

    Attributes:
        target: counts over the targets.
        control: counts over the controls, in the same order of examples where these are pairs.
        both: int64 `(max_top_s, num_codes)`; in row r, pairs in which r is the worse of a code's best ranks in the two.
            `None` where there are no pairs.
    """

    target: CodeCounts
    control: CodeCounts
    both: Tensor | None = None

    def __repr__(self) -> str:
        paired = "not paired" if self.both is None else "paired"
        return f"PairedCounts: target {self.target}; control {self.control}; {paired}"

    @classmethod
    def empty(cls, num_codes: int, max_top_s: int) -> "PairedCounts":
        """Counts of nothing, to add to."""
        target, control = (CodeCounts.empty(num_codes, max_top_s) for _ in range(2))
        return cls(target, control, torch.zeros_like(target.examples))

    def add_batch_(self, target: BestRanks, control: BestRanks) -> "PairedCounts":
        """These counts and those of one more batch of pairs, as `CodeCounts.add_batch_`.

        Raises:
            ValueError: if these counts are not of pairs.
        """
        if self.both is None:
            raise ValueError("A batch of pairs does not add up with counts without pairs: begin with `empty`.")
        if len(control.cells):
            places = torch.searchsorted(control.cells, target.cells).clamp_max(len(control.cells) - 1)
            same = control.cells[places] == target.cells
            worse = torch.maximum(target.ranks[same], control.ranks[places[same]])
            _count_(self.both, target.cells[same], worse)
        return replace(self, target=self.target.add_batch_(target), control=self.control.add_batch_(control))

    def __add__(self, other: "PairedCounts") -> "PairedCounts":
        """The counts of both.

        Raises:
            ValueError: if only one of them is of pairs, or as `CodeCounts`.
        """
        if (self.both is None) != (other.both is None):
            raise ValueError("Counts of pairs and counts without pairs do not add up. Count both in the same way.")
        both = None if self.both is None or other.both is None else self.both + other.both
        return PairedCounts(self.target + other.target, self.control + other.control, both)

    def table(self, top_s: int, retain: CodeCounts | None = None) -> CountTable:
        """What the statistics need, at one S'."""
        target, control = self.target.example_counts(top_s), self.control.example_counts(top_s)
        both = None if self.both is None else _running_sum(self.both, top_s)
        return CountTable(
            target.numpy(),
            control.numpy(),
            self.target.num_examples,
            self.control.num_examples,
            target_only=None if both is None else (target - both).numpy(),
            control_only=None if both is None else (control - both).numpy(),
            retain_count=retain.example_counts(top_s).numpy() if retain else None,
            num_retain=retain.num_examples if retain else None,
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the counts to a safetensors file; what was there is replaced only when all is written."""
        parts: dict[str, Any] = {} if self.both is None else {"both": self.both}
        for name, counts in {"target": self.target, "control": self.control}.items():
            parts |= {f"{name}.examples": counts.examples, f"{name}.num_examples": counts.num_examples}
        _save(path, parts)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "PairedCounts":
        """The counts that `save` wrote.

        Raises:
            ValueError: if the file is of another kind.
        """
        names = ("target.examples", "control.examples", "target.num_examples", "control.num_examples")
        parts = _load(path, names)
        target, control = (
            CodeCounts(parts[f"{name}.examples"], parts[f"{name}.num_examples"]) for name in ("target", "control")
        )
        return cls(target, control, parts.get("both"))


@by_main_process("path")
def _save(path: str | os.PathLike, parts: Mapping[str, Any]) -> None:
    """Tensors as they are, numbers and identities in the metadata."""
    tensors = {key: value for key, value in parts.items() if isinstance(value, Tensor)}
    numbers = {key: value for key, value in parts.items() if key not in tensors}
    with new_file(path) as partial:
        save_file(tensors, partial, metadata={METADATA: json.dumps(numbers)})


def _load(path: str | os.PathLike, needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as file:
            parts: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
            numbers = parsed((file.metadata() or {}).get(METADATA, "{}"), os.fspath(path))
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} holds no counts: {printable(str(error))}.") from error
    if any(tensor.dtype != torch.int64 or tensor.dim() != 2 for tensor in parts.values()):
        raise ValueError(f"{os.fspath(path)!r} holds no counts: its tensors are no tables of int64.")
    identity = checked(numbers, dict, METADATA).pop("identity", None)
    parts |= checked(numbers, dict[str, int], METADATA) | {"identity": identity}
    missing = [key for key in needed if key not in parts]
    if missing:
        raise ValueError(f"{os.fspath(path)!r} holds no counts of this kind: {missing} are missing.")
    return parts


def _count_(table: Tensor, cells: Tensor, ranks: Tensor) -> None:
    """Adds 1 to a table, `(max_top_s, num_codes)`, for the code and rank of every cell of a batch."""
    num_codes = table.shape[1]
    places = (ranks * num_codes + cells % num_codes).to(table.device)
    table.view(-1).index_add_(0, places, torch.ones_like(places))


def _running_sum(histogram: Tensor, top_s: int) -> Tensor:
    if not 1 <= top_s <= len(histogram):
        raise ValueError(f"top_s={top_s}: counts were made for 1 to {len(histogram)}; count with a larger max_top_s.")
    return histogram[:top_s].sum(0)
