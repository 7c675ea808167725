"""Rows of codes that were or will be erased, and what is left of them in files."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from excise.ledger.embeddings import rows_left, vocabulary_tables
from excise.ledger.erased_tables import rows_by_table
from excise.ledger.ledger import Ledger
from excise.sharing.erasure.row_search import RowsAsBytes, RowSearch
from excise.sharing.erasure.shapes import CodeShape, TableShape
from excise.sharing.erasure.streams import Note, Stream, files_in, streams
from excise.sharing.erasure.tensors import tensors
from excise.storage.display import printable

MOST_NOTES, MOST_LETTERS = 100, 400  # of one file, of one reason
# The name of what is erased of an embedding table, where codes have that of a bottleneck's tensor.
TABLE = "row"
# What modules call their parameters that hold no codes, how many numbers are enough to compare, and what is alike.
OTHERS, ENOUGH, ALIKE = ("weight", "bias"), 256, 0.3
# What weights are saved in.
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Leftover:
    """Something of erased codes in a file, or a file in which there may be some and that is not read.

    Args:
        file: its name, or its path in the folder; of a member of an archive, with its name after `!`.
        site: the bottleneck that the codes were erased from; "" of a file that is not read.
        tensor: the part of the bottleneck that held what was found.
        codes: the codes of which something was found.
        how: the way in which it was found.
    """

    file: str
    site: str
    tensor: str
    codes: tuple[int, ...]
    how: str

    @classmethod
    def unread(cls, file: str, why: str) -> "Leftover":
        """A file, or something in it, that could not be read, or not all of it."""
        return cls(file, "", "", (), f"could not be read. {why}")

    def __str__(self) -> str:
        if not self.site:
            return printable(f"{self.file}: {self.how}")
        first = ", ".join(map(str, self.codes[:5])) + (", ..." if len(self.codes) > 5 else "")
        what = "embedding rows" if self.tensor == TABLE else "codes"
        codes = f"{len(self.codes)} erased {what} of {self.site} ({first})"
        return printable(f"{self.file}: {self.tensor} of {codes}, {self.how}")


class _Leftovers(list[Leftover]):
    """What is found in one file."""

    def note(self, name: str, why: str) -> None:
        """Adds that something could not be read."""
        leftover = Leftover.unread(name, why)
        if leftover not in self[-MOST_NOTES:] and len(self) < MOST_NOTES:
            self.append(leftover)

    @contextmanager
    def unread(self, name: str) -> Iterator[None]:
        """Notes whatever goes wrong, as the next file has to be looked at."""
        try:
            yield
        except Exception as error:  # of any kind: a file may make a reader raise what it likes
            text = str(error)[:MOST_LETTERS]
            self.note(name, text if text.endswith(".") else f"{type(error).__name__}: {text}.")


@dataclass(frozen=True)
class _Rows:
    """Rows of one tensor in one type of number."""

    site: str
    tensor: str
    dtype: torch.dtype
    codes: np.ndarray
    data: np.ndarray  # uint8 (rows, length)


class ErasedRows:
    """Rows that must be nowhere, and where in files they are.

    What is looked for: the bytes of each row in fp64, fp32, bf16 and fp16, anywhere in any file, in zip, gzip, bzip2,
    xz, Parquet and Arrow too, broken ones as far as they go; and in safetensors, torch and NumPy files any tensor with
    a row for each code that is not zero at erased ones, as copies that have drifted (EMA, other precisions) and an
    optimizer's moments are. `of` makes it of a model before its rows are erased; where they are gone already, their
    bytes are not known, and the second way alone is left.

    A file of a stranger may ask for terabytes, unpack to more than there is, or break off: what is read of it is
    bounded, none of it is run, and what could not be read is a leftover that says so.

    A row whose bytes are also in what stays (of a code that is not erased, say, once rounded) is told from nothing, and
    is not looked for by its bytes; nor is one of fewer than eight bytes, or one number over and over.
    """

    def __init__(
        self,
        rows: list[_Rows],
        shapes: list[CodeShape],
        known: Mapping[str, tuple[int, ...]],
        search: RowSearch | None = None,
    ):
        self._rows, self._shapes, self._known = rows, shapes, dict(known)
        self._search = search or RowSearch([part.data for part in rows])

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        codes: Mapping[str, Iterable[int]] | None = None,
        kinds: tuple[str, ...] = ("mask", "delete"),
    ) -> "ErasedRows":
        """What is or will be erased of a model.

        Args:
            model: a model with bottlenecks.
            codes: the codes by site; if not given, those that its ledger's requests in force have removed.
            kinds: of the requests.

        Raises:
            ValueError: if the model has no bottleneck, no such site or code, or is not all in memory.
        """
        sites, tokens = bottlenecks(model), {}
        if codes is None:
            ledger = Ledger.from_dict(model.config.unlearning)
            codes = {site: ledger.removed(site, kinds) for site in sites}
            tokens = rows_by_table(model, ledger.rows_of(kinds))
        if unknown := codes.keys() - sites.keys():
            raise ValueError(f"The model has bottlenecks at {sorted(sites)}; codes of {sorted(unknown)} are given.")
        rows, stay, shapes, of_codes = [], [], [], set()
        for site, copies in bottleneck_copies(model).items():
            erased = np.unique(np.fromiter(codes.get(site, ()), np.int64))
            if len(erased) and not 0 <= erased[0] <= erased[-1] < sites[site].num_codes:
                raise ValueError(
                    f"{site} has codes 0 to {sites[site].num_codes - 1}; {erased[0]} to {erased[-1]} are given."
                )
            for bottleneck in copies:
                for name in bottleneck.code_tensors:
                    tensor = getattr(bottleneck, name).detach()
                    if tensor.is_meta:
                        raise ValueError("A device map has put bottlenecks on disk. Load the model without it.")
                    of_codes.add(id(getattr(bottleneck, name)))
                    flat = bottleneck.by_code(tensor).cpu()
                    shapes.append(CodeShape(site, name, bottleneck.num_groups, (len(flat), flat.shape[1]), erased))
                    for dtype in dict.fromkeys([*DTYPES, tensor.dtype]):
                        rows.append(_Rows(site, name, dtype, erased, _bytes(flat[erased], dtype)))
                        stay.append((flat, erased, dtype))
        tables = vocabulary_tables(model)
        for name, numbers in tokens.items():
            table = tables[name].detach()
            if table.is_meta:
                raise ValueError("A device map has put embeddings on disk. Load the model without it.")
            erased = np.array(numbers, np.int64)
            there = np.array(rows_left(table, torch.from_numpy(erased)), np.int64)
            of_codes.add(id(tables[name]))
            shapes.append(TableShape(name, TABLE, 1, (len(table), table.shape[1]), erased))
            for dtype in dict.fromkeys([*DTYPES, table.dtype]):
                rows.append(_Rows(name, TABLE, dtype, there, _bytes(table.cpu()[there], dtype)))
                stay.append((table.cpu(), there, dtype))
        state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        known = {name: tuple(tensor.shape) for name, tensor in state.items() if id(tensor) not in of_codes}
        search = RowSearch([part.data for part in rows])
        return cls(rows, shapes, known, search.without(_still_there(search, stay)))

    def __or__(self, other: "ErasedRows") -> "ErasedRows":
        """What is erased of either."""
        return ErasedRows(
            self._looked_for() + other._looked_for(), self._shapes + other._shapes, self._known | other._known
        )

    def in_a_part(self) -> "ErasedRows":
        """The same rows, for files of one part of the model alone: its tensors' names lack the part's own."""
        parts = {name.partition(".")[2]: shape for name, shape in self._known.items() if "." in name}
        return ErasedRows(self._rows, self._shapes, parts | self._known, self._search)

    def __len__(self) -> int:
        """Number of different rows that are looked for by their bytes, whatever their type of number."""
        return len({(part.site, part.tensor, code) for part in self._looked_for() for code in part.codes.tolist()})

    @property
    def by_tensor(self) -> dict[str, int]:
        """How many rows are looked for of each tensor, such as keys and values, whatever their type of number."""
        rows = {(part.site, part.tensor, code) for part in self._looked_for() for code in part.codes.tolist()}
        return dict(Counter(tensor for _, tensor, _ in sorted(rows)))

    def find(self, path: str | os.PathLike) -> list[Leftover]:
        """What is left of erased rows in a file, and what in it could not be read."""
        path, hits = Path(path), _Leftovers()
        with hits.unread(path.name):
            for stream in streams(path, hits.note):
                with hits.unread(stream.name):
                    if stream.is_new:
                        hits += self._in_bytes(stream)
                    else:
                        hits += self._in_tensors(stream, hits.note)
        return list(hits)

    def _in_bytes(self, stream: Stream) -> Iterator[Leftover]:
        numbers, codes = self._search.find(stream.content), defaultdict(list)
        parts = np.searchsorted(self._search.first, numbers, side="right") - 1
        for part in np.unique(parts):
            rows, of_part = self._rows[part], numbers[parts == part] - self._search.first[part]
            codes[rows.site, rows.tensor, rows.dtype].append(rows.codes[of_part])
        for (site, tensor, dtype), ids in codes.items():
            how = f"byte for byte in {str(dtype).removeprefix('torch.')}"
            yield Leftover(stream.name, site, tensor, tuple(np.unique(np.concatenate(ids)).tolist()), how)

    def _in_tensors(self, stream: Stream, note: Note) -> Iterator[Leftover]:
        for name, tensor in tensors(stream, {size for shape in self._shapes for size in shape.sizes}, note):
            if self._is_other(name, tensor):
                continue
            # A tensor that is named as a site's holds nothing of another's, though it may have the same shape.
            named = [shape for shape in self._shapes if shape.is_named(name)]
            for shape in named or self._shapes:
                if (ids := shape.nonzero(tensor)) and (named or self._may_be(shape, name, tensor, ids)):
                    how = f"not zero in its tensor {name!r} of shape {tuple(tensor.shape)}"
                    yield Leftover(stream.name, shape.site, shape.tensor, ids, how)

    def find_in(self, folder: str | os.PathLike, without: Collection[Path] = ()) -> list[Leftover]:
        """What is left of erased rows in any file of a folder, in folders in it and hidden ones too.

        Args:
            folder: the folder.
            without: files, as paths in the folder, that need not be read.
        """
        hits = []
        for path, why in files_in(Path(folder)):
            if path in without:
                continue
            of_file = [Leftover.unread(path.name, why)] if why else self.find(Path(folder, path))
            hits += [replace(left, file=path.as_posix().removesuffix(path.name) + left.file) for left in of_file]
        return hits

    def _is_other(self, name: str, tensor: Tensor) -> bool:
        """Whether a tensor is one of the model's own that holds nothing of codes, under whatever prefix, or without."""
        parts, shape = name.split("."), tuple(tensor.shape)
        if any(self._known.get(".".join(parts[i:])) == shape for i in range(len(parts))):
            return True
        return len(parts) > 1 and any(of.endswith(f".{name}") and self._known[of] == shape for of in self._known)

    def _may_be(self, shape: CodeShape, name: str, tensor: Tensor, codes: tuple[int, ...]) -> bool:
        """Whether a tensor that is not named as a site's, and has its shape, may hold rows of erased codes.

        A weight of another module, as its name says, is taken for one only if it is like what was erased; where that is
        not at hand, or too little to compare, by its shape.
        """
        if name.rpartition(".")[2] not in OTHERS:
            return True
        rows = shape.by_code(tensor)
        if rows is None or rows.shape[1] != shape.shape[1]:
            return False  # one number for each code, which no module calls so
        for part in self._rows:
            if (part.site, part.tensor, part.dtype) == (shape.site, shape.tensor, torch.float32):
                own, at = np.isin(part.codes, codes), np.isin(codes, part.codes)
                erased = part.data[own].view(np.float32).ravel().astype(np.float64)
                there = rows[torch.tensor(codes)[torch.from_numpy(at)]].float().numpy().ravel().astype(np.float64)
                if len(erased) >= ENOUGH and erased.std() and there.std():
                    return bool(np.corrcoef(erased, there)[0, 1] > ALIKE)
        return True

    def _looked_for(self) -> list[_Rows]:
        """The rows without those that are told from nothing."""
        parts, looked_for = [], np.zeros(self._search.first[-1], bool)
        looked_for[self._search.rows] = True
        for part, left in zip(self._rows, np.split(looked_for, self._search.first[1:-1]), strict=False):
            parts.append(_Rows(part.site, part.tensor, part.dtype, part.codes[left], part.data[left]))
        return parts


def _bytes(rows: Tensor, dtype: torch.dtype) -> np.ndarray:
    return rows.to(dtype).contiguous().view(torch.uint8).numpy()


def _still_there(search: RowSearch, stay: list[tuple[Tensor, np.ndarray, torch.dtype]]) -> np.ndarray:
    """The rows that are found in tensors even when they are erased in them."""
    found = [np.empty(0, np.int64)]
    for flat, erased, dtype in stay if len(search.rows) else ():
        found.append(search.find(RowsAsBytes(flat, erased, dtype)))
    return np.unique(np.concatenate(found))
