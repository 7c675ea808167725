"""Byte streams of a file: as it is, and what is packed in it."""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from excise.sharing.erasure.unpacking import (
    BLOCK,
    COLUMNS,
    LONGEST,
    ZIP,
    Packed,
    decoded_columns,
    packed_streams,
    unpacked,
)

NESTED = 3  # archives in archives in archives
# Bytes that may be unpacked of any file, or of each of its bytes; what a stream counts for at least.
ALWAYS, RATIO, LEAST = 1 << 28, 32, 1 << 16
HOLE = 1 << 16  # bytes of a hole in a file that are read as zeros; the rest of it is passed over
IN_MEMORY = 1 << 23
# How a file begins that is called so.
BEGINNINGS: dict[tuple[str, ...], tuple[bytes, ...]] = {
    (".gz", ".tgz"): (b"\x1f\x8b\x08",),
    (".bz2", ".tbz2"): (b"BZh",),
    (".xz", ".txz"): (b"\xfd7zXZ\x00",),
    (".zip", ".npz"): (b"PK",),
    (".npy",): (b"\x93NUMPY",),
    (".pt", ".pth", ".ckpt"): (b"PK", b"\x80"),
    (".parquet",): COLUMNS[:1],
    (".arrow", ".feather"): COLUMNS[1:],
    (".7z", ".rar", ".zst", ".lz4", ".br", ".lzma", ".orc"): (),  # not read, whatever they begin with
}
WRONGLY_CALLED = "It does not begin like what it is called, so what it holds is not known."
# What packed files that are not read start with.
UNREAD = {
    b"(\xb5/\xfd": "zstandard archive",
    b"\x04\x22\x4d\x18": "LZ4 archive",
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!\x1a\x07": "RAR archive",
    b"LZIP\x01": "lzip archive",
    b"\x1f\x9d\x90": "archive of compress",
    b"PARE": "Parquet file with an encrypted footer",
    b"FEA1": "Feather file of version 1",
}

Note = Callable[[str, str], None]
"""What is called with a stream's name and the reason why it cannot be read, or not all of it."""


class TooMuchError(RuntimeError):
    """A file that unpacks to more than is read of it."""


class Allowance:
    """Bytes that may still be read of what a file unpacks to.

    Args:
        size: of the file.
    """

    def __init__(self, size: int):
        self.whole = self.left = max(ALWAYS, RATIO * size)

    def spend(self, size: int) -> None:
        """Takes some bytes off.

        Raises:
            TooMuchError: if there are not so many left.
        """
        self.left -= size
        if self.left < 0:
            raise TooMuchError(f"It unpacks to more than {self.whole >> 20} MiB. Unpack it, and look through the rest.")


@dataclass(frozen=True)
class Stream:
    """A file, or something that is packed in it.

    Args:
        name: of the file; of what is packed in it, with the names of members and formats, each after `!`.
        content: its bytes, and those before it in the same file.
        allowance: of the file.
        start: where it begins.
        is_new: whether its bytes were not given before; these are read once, from the start to the end, and what is
            given again can be sought in.
        members: of a zip archive, those that are stored as they are, and where each begins.
    """

    name: str
    content: BinaryIO
    allowance: Allowance
    start: int = 0
    is_new: bool = True
    members: tuple[tuple[str, int], ...] = ()


def streams(path: Path, note: Note) -> Iterator[Stream]:
    """A file, and what is packed in it.

    That is gzip, bzip2, xz and members of zip archives, wherever they begin and as far as they go, and columns of
    Parquet and Arrow files. What comes before a break is given.

    Args:
        path: of the file.
        note: called with what cannot be read, and why.

    Raises:
        OSError: if it is not there, may not be read, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb", buffering=0) as raw:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("It is no regular file.")
        file, size = cast(BinaryIO, raw), os.fstat(handle).st_size
        allowance = Allowance(size)
        yield Stream(path.name, cast(BinaryIO, _WithoutHoles(file, size)), allowance)
        yield Stream(path.name, file, allowance, is_new=False)
        try:
            yield from _inside(path.name, file, allowance, note, NESTED)
        except TooMuchError as error:
            note(path.name, str(error))
        if os.fstat(handle).st_size != size:
            note(path.name, "It was changed while it was read.")


def files_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """The paths in a folder of all that is in it, and why something there is no file that can be read, or ""."""
    unread: list[tuple[Path, str]] = []

    def failed(error: OSError) -> None:
        unread.append(
            (Path(error.filename).relative_to(folder), f"It is a folder that cannot be listed ({error.strerror}).")
        )

    for place, folders, files in os.walk(folder, onerror=failed):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        unread += [
            (Path(place, name).relative_to(folder), "It is a link to a folder, which is not followed.")
            for name in links
        ]
        for name in sorted(files):
            path = Path(place, name)
            why = "" if path.is_file() else "It is no regular file, and no link to one."
            yield path.relative_to(folder), why
    yield from unread


def _inside(name: str, file: BinaryIO, allowance: Allowance, note: Note, depth: int) -> Iterator[Stream]:
    """What is packed in a stream, and in that."""
    file.seek(0)
    start, size = file.read(9), file.seek(0, os.SEEK_END)
    if start[8:] == b"{" and name.lower().endswith(".safetensors"):  # numbers, or a file that is told to be broken
        return
    for beginning, kind in UNREAD.items():
        if start.startswith(beginning):
            note(name, f"It is a {kind}, which is not read. Unpack it, and look through what it holds.")
    if start.startswith(COLUMNS[:2]) or (start.startswith(COLUMNS[2]) and name.endswith(".arrow")):
        with decoded_columns(file, 8 + size // 10_000_000, lambda why: note(name, why)) as columns:
            yield Stream(f"{name}!columns", cast(BinaryIO, _Counted(columns, allowance)), allowance)
    stored: list[tuple[str, int]] = []
    packed, members = None, 0
    for packed in packed_streams(file, _blocks(file, size), allowance.spend):
        members += packed.is_member
        inside = f"{name}!{packed.name}"
        if packed.broken:
            note(inside, packed.broken)
        elif packed.decoder is None:
            stored.append((packed.name, packed.start))
            file.seek(packed.start)
            if _is_called_wrongly(inside, file.read(8)):
                note(inside, WRONGLY_CALLED)
            yield Stream(inside, file, allowance, packed.start, is_new=False)
        elif depth:
            yield from _unpacked(inside, file, packed, allowance, note, depth)
        elif packed.certain:
            note(inside, f"It is packed in more than {NESTED} others. Unpack it, and look through what it holds.")
    if stored:
        yield Stream(name, file, allowance, is_new=False, members=tuple(stored))
    if packed is None and _is_called_wrongly(name, b"?" if start.startswith(ZIP) else start):  # a broken header
        note(name, WRONGLY_CALLED)
    if members:
        file.seek(max(0, size - (1 << 16) - 22))
        _, is_listed, about = file.read().rpartition(b"PK\x05\x06")
        if not is_listed and start.startswith(ZIP):
            note(name, "It is a zip archive that is cut short.")
        elif is_listed and members < (count := int.from_bytes(about[6:8], "little")) < 0xFFFF:
            note(name, f"It is a zip archive of {count} members, and {members} are there.")


def _is_called_wrongly(name: str, start: bytes) -> bool:
    """Whether something is called as what it does not begin like."""
    of_its_name = (beginnings for endings, beginnings in BEGINNINGS.items() if name.lower().endswith(endings))
    return bool(start) and any(not start.startswith(beginnings) for beginnings in of_its_name)


def _unpacked(
    name: str, file: BinaryIO, packed: Packed, allowance: Allowance, note: Note, depth: int
) -> Iterator[Stream]:
    with SpooledTemporaryFile(IN_MEMORY) as spool:
        content, too_much = cast(BinaryIO, spool), None
        try:
            why = unpacked(file, packed, content, allowance.spend)
            allowance.spend(LEAST if spool.tell() else 0)
        except TooMuchError as error:
            why, too_much = "", error
        size = spool.tell()
        if why and (packed.certain or size >= LEAST):
            note(name, why)
        if size:
            spool.seek(0)
            yield Stream(name, content, allowance)
            yield Stream(name, content, allowance, is_new=False)
            if too_much is None:
                yield from _inside(name, content, allowance, note, depth - 1)
        if too_much is not None:
            raise too_much


def _blocks(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """The bytes of a file, and where they are; each block with the beginning of the next. Holes are left out."""
    position = 0
    while position < size:
        file.seek(position)
        if not (block := file.read(BLOCK + LONGEST)):
            return
        yield position, block
        position = _data(file, position + BLOCK)[0]


def _data(file: BinaryIO, position: int) -> tuple[int, int]:
    """Where the next bytes of a file are that are no hole, and how many."""
    endless = 1 << 62
    if not isinstance(file, io.FileIO) or not hasattr(os, "SEEK_DATA"):
        return position, endless
    try:
        begins = os.lseek(file.fileno(), position, os.SEEK_DATA)
        return begins, os.lseek(file.fileno(), begins, os.SEEK_HOLE) - begins
    except OSError as error:  # no more data, or a file system that knows none
        return (endless, 0) if error.errno == errno.ENXIO else (position, endless)


class _WithoutHoles:
    """A file to be read once from its start to the end that it had when it was opened; of holes, little."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size, self.position = file, size, 0

    def read(self, size: int) -> bytes:
        if self.position >= self.size:
            return b""
        begins, length = _data(self.file, self.position)
        if begins - self.position > HOLE:
            self.position = begins
            return bytes(HOLE)
        self.file.seek(self.position)
        data = self.file.read(min(size, self.size - self.position, begins - self.position + length))
        self.position = self.position + len(data) if data else self.size
        return data


class _Counted:
    """A stream that may give so many bytes and no more."""

    def __init__(self, stream: BinaryIO, allowance: Allowance):
        self.stream, self.allowance = stream, allowance

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.allowance.spend(len(data))
        return data
