"""Search for any of many rows of bytes at any place in a file, in one pass."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

WINDOW = 8  # a row is looked for by eight of its bytes; one shorter than that is told from nothing
PIECE = 1 << 20  # bytes that are looked through at a time: few enough for the processor's cache
BLOCK = 1 << 24  # bytes that are read at a time
HASHES = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, some so many; none at the end."""


class RowsAsBytes:
    """The bytes of a table in some type of number, with some rows erased: made as they are read, a few rows at a time.

    Args:
        table: `(rows, width)`; it stays as it is.
        erased: numbers of the rows that are zero in what is read.
        dtype: the type of number.
    """

    def __init__(self, table: Tensor, erased: np.ndarray, dtype: torch.dtype):
        self.table, self.dtype, self.at = table, dtype, 0
        self.erased = torch.zeros(len(table), dtype=torch.bool)
        self.erased[torch.from_numpy(erased)] = True

    def read(self, size: int, /) -> bytes:
        """The bytes of the next rows: as many as make no more than so many bytes, or one."""
        rows = size // max(1, self.table.shape[1] * self.dtype.itemsize)
        part = slice(self.at, self.at + max(1, rows))
        some = self.table[part].to(self.dtype, copy=True)
        some[self.erased[part]] = 0
        self.at = part.stop
        return some.contiguous().view(torch.uint8).numpy().tobytes()


class RowSearch:
    """A table of rows that are looked for at every byte offset.

    A row is known by its most varied eight bytes. Two tables of bits sort out all but about one in a thousand of a
    file's offsets; what is left is looked up among the windows, and then the whole row is compared.

    Args:
        groups: rows of one length each, uint8 `(rows, length)`. Rows are numbered through all groups.
    """

    def __init__(self, groups: list[np.ndarray]):
        self.groups = groups
        self.first = np.cumsum([0, *map(len, groups)])
        self.longest = max((group.shape[1] for group in groups), default=0)
        parts = [(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))]
        for first, group in zip(self.first, groups, strict=False):
            known = np.flatnonzero(_varied(group))
            if group.shape[1] < WINDOW or not len(known):
                continue
            offset, window = _most_varied(group[known])
            parts.append((window, known + first, offset))
        windows, rows, offsets = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(windows, kind="stable")
        self.windows, self.rows, self.offsets = windows[order], rows[order], offsets[order]
        self.bits = int(np.clip(np.ceil(np.log2(len(windows) + 1)) + 5, 16, 26))
        self.tables = []
        for factor in HASHES:
            table = np.zeros(1 << self.bits, bool)
            table[self._hashed(self.windows, factor)] = True
            self.tables.append(table)

    def without(self, found: np.ndarray) -> "RowSearch":
        """The same table without some of its rows; the others keep their numbers."""
        if not len(found):
            return self
        groups = [group.copy() for group in self.groups]
        for number in found:
            group = int(np.searchsorted(self.first, number, side="right")) - 1
            groups[group][number - self.first[group]] = 0  # a row of zeros is looked for nowhere
        return RowSearch(groups)

    def find(self, stream: Readable) -> np.ndarray:
        """The numbers of the rows that are somewhere in a stream, ascending."""
        found = [np.empty(0, np.int64)]
        if len(self.windows):
            for block in self._blocks(stream):
                found += self._in_block(block)
        return np.unique(np.concatenate(found))

    def _blocks(self, stream: Readable) -> Iterator[np.ndarray]:
        """The stream's bytes, each block beginning with the end of the last, so that no row is cut in all of them."""
        kept = b""
        while data := stream.read(BLOCK):
            block = kept + data
            yield np.frombuffer(block, np.uint8)
            kept = block[max(0, len(block) - self.longest + 1) :]

    def _in_block(self, block: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(block) - WINDOW + 1, PIECE):
            piece = block[start : start + PIECE + WINDOW - 1]
            for shift in range(min(WINDOW, len(piece) - WINDOW + 1)):
                count = (len(piece) - shift) // WINDOW
                windows = np.frombuffer(piece, np.uint64, count, shift)
                maybe = np.flatnonzero(self.tables[0][self._hashed(windows, HASHES[0])])
                maybe = maybe[self.tables[1][self._hashed(windows[maybe], HASHES[1])]]
                if len(maybe):
                    yield self._compared(block, start + shift + WINDOW * maybe, windows[maybe])

    def _compared(self, block: np.ndarray, places: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """The rows that are in a block, of those whose windows are at some places."""
        left = np.searchsorted(self.windows, windows, side="left")
        counts = np.searchsorted(self.windows, windows, side="right") - left
        # One entry for each row that has the window of a place.
        entries = np.repeat(left - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        rows, starts = self.rows[entries], np.repeat(places, counts) - self.offsets[entries]
        group_of, found = np.searchsorted(self.first, rows, side="right") - 1, []
        for number in np.unique(group_of):
            group, in_group = self.groups[number], group_of == number
            length = group.shape[1]
            some = np.flatnonzero(in_group & (starts >= 0) & (starts + length <= len(block)))
            # A few of its bytes first: a file may hold the window of a row over and over.
            for places_in_row in (np.linspace(0, length - 1, 16).astype(int), np.arange(length)):
                step, equal = max(1, PIECE // len(places_in_row)), []
                for part in np.array_split(some, len(some) // step + 1):
                    bytes_there = block[starts[part][:, None] + places_in_row]
                    bytes_of_row = group[(rows[part] - self.first[number])[:, None], places_in_row]
                    equal.append(part[(bytes_there == bytes_of_row).all(1)])
                some = np.concatenate(equal)
            found.append(np.unique(rows[some]))
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def _hashed(self, windows: np.ndarray, factor: np.uint64) -> np.ndarray:
        return ((windows * factor) >> np.uint64(64 - self.bits)).view(np.int64)


def _varied(rows: np.ndarray) -> np.ndarray:
    """Which rows are more than a few bytes over and over, such as zeros: those are in any file."""
    if rows.shape[1] < WINDOW:
        return np.zeros(len(rows), bool)
    period = 4 if rows.shape[1] % 4 == 0 else 2 if rows.shape[1] % 2 == 0 else 1
    return (rows[:, period:] != rows[:, :-period]).any(1)


def _most_varied(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The offset, of up to sixteen, at which eight bytes of each row have most different values, and these bytes."""
    last = rows.shape[1] - WINDOW
    offsets = np.unique(np.linspace(0, last // 4, 16).astype(int) * 4)
    best, most, windows = np.zeros(len(rows), np.int64), np.full(len(rows), -1), np.zeros(len(rows), np.uint64)
    for offset in offsets:
        some = np.ascontiguousarray(rows[:, offset : offset + WINDOW])
        different = (np.diff(np.sort(some, axis=1), axis=1) != 0).sum(1)
        better = different > most
        best[better], most[better] = offset, different[better]
        windows[better] = some.view(np.uint64)[better, 0]
    return best, windows
