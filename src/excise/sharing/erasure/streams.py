"""Byte streams of a file: as it is, and what is compressed in it."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

NESTED = 3  # archives in archives in archives
BROKEN = (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
# What files of one compressed stream start with.
PACKED: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZ": ("bzip2", bz2.open),
    b"\xfd7": ("xz", lzma.open),
}


def streams(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Names and contents of a file and of what is compressed in it.

    That is gzip, bzip2, xz, members of zip archives, and Parquet columns. The file's own name is empty. What
    cannot be unpacked is given as it is only.
    """
    with open(path, "rb") as stream:
        yield from _streams("", stream, NESTED)


def _streams(name: str, stream: BinaryIO, depth: int) -> Iterator[tuple[str, BinaryIO]]:
    yield name, stream
    stream.seek(0)
    start = stream.read(4)
    stream.seek(0)
    if depth and start[:2] in PACKED:
        how, unpack = PACKED[start[:2]]
        with unpack(stream) as unpacked:
            yield from _streams(f"{name}!{how}", _unpacked(unpacked), depth - 1)
    elif depth and start[:2] == b"PK" and zipfile.is_zipfile(stream):
        yield from _members(name, stream, depth)
    elif start == b"PAR1":
        yield from _columns(name, stream)


def _members(name: str, stream: BinaryIO, depth: int) -> Iterator[tuple[str, BinaryIO]]:
    try:
        archive = zipfile.ZipFile(stream)
    except BROKEN:
        return
    with archive:
        for member in archive.infolist():
            if member.is_dir() or member.flag_bits & 1:  # 1: encrypted
                continue
            try:
                opened = archive.open(member)
            except BROKEN:
                continue
            with opened:
                unpacked = _unpacked(opened)
                # What is stored as it is was read with the archive; but an archive in it was not.
                packed = member.compress_type != zipfile.ZIP_STORED
                if packed or unpacked.read(2) in (b"PK", *PACKED):
                    unpacked.seek(0)
                    yield from _streams(f"{name}!{member.filename}", unpacked, depth - 1)


def _unpacked(stream: IO[bytes]) -> BinaryIO:
    return cast(BinaryIO, _Unpacked(stream))  # what it has of one is all that is asked of it


class _Unpacked(io.RawIOBase):
    """A stream that ends where the archive that it is unpacked from is broken."""

    def __init__(self, stream: IO[bytes]):
        self.stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self.stream.read(size)
        except BROKEN:
            return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self.stream.seek(offset, whence)
        except BROKEN:
            return self.tell()

    def tell(self) -> int:
        return self.stream.tell()


def _columns(name: str, stream: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    from pyarrow import ArrowException, parquet

    try:
        batches = parquet.ParquetFile(stream).iter_batches()
        for batch in batches:
            for column, field in zip(batch.columns, batch.schema, strict=True):
                for buffer in filter(None, column.buffers()):
                    yield f"{name}!{field.name}", io.BytesIO(buffer)
    except (ArrowException, OSError):
        return
