"""Unpacking of gzip, bzip2, xz, zip, Parquet and Arrow files, broken ones too.

Packed streams are found by their first bytes, not in an archive's own list, which may be cut off or point anywhere.
Columns are decoded in a process of its own, which runs this file.
"""

import bz2
import lzma
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

STEP = 1 << 16  # bytes that are unpacked at a time
BLOCK = 1 << 20  # bytes that are looked through at a time for where streams begin
LONGEST = 1 << 12  # bytes of a member's name, or of what else stands before a stream
MEMORY = 1 << 28  # bytes that a decoder may take
Spend = Callable[[int], None]
BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)

ZIP, GZIP, BZIP2, XZ = b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00"
COLUMNS = (b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff")  # Parquet, a file of Arrow, a stream of Arrow
TAR = 512  # where members of a tar archive begin


@dataclass
class Packed:
    """A stream that is packed in a file, or stored in a zip archive as it is.

    Args:
        name: of the member or format.
        start: where its bytes begin.
        decoder: makes what unpacks it; `None` if it is stored.
        certain: whether its first bytes leave no doubt.
        broken: why it cannot be unpacked, where that is known before.
        most: bytes that it unpacks to, if it has no end.
        is_sound: of its CRC-32 and the bytes that follow it.
        trailer: bytes of its own after its end.
    """

    name: str
    start: int
    decoder: Callable[[], Any] | None = None
    certain: bool = True
    broken: str = ""
    most: int | None = None
    is_sound: Callable[[int, bytes], bool] = lambda checksum, after: True
    trailer: int = 0
    is_member: bool = False  # of a zip archive
    end: int = 0  # once it was unpacked


class _Inflate:
    """A decoder of deflate, used like those of bzip2 and xz."""

    def __init__(self):
        self.decoder, self.full = zlib.decompressobj(-zlib.MAX_WBITS), False

    eof = property(lambda self: self.decoder.eof)
    unused_data = property(lambda self: self.decoder.unused_data)
    needs_input = property(lambda self: not self.full and not self.decoder.unconsumed_tail)

    def decompress(self, data: bytes, most: int) -> bytes:
        piece = self.decoder.decompress(self.decoder.unconsumed_tail + data, most)
        self.full = len(piece) == most
        return piece


def packed_streams(file: BinaryIO, blocks: Iterator[tuple[int, bytes]], spend: Spend) -> Iterator[Packed]:
    """Where packed streams begin in a file, in order. One that begins inside another that was unpacked is none.

    Args:
        file: to be sought in.
        blocks: its bytes and where they are, each with the first `LONGEST` of the next.
        spend: called with a number of bytes for each place that is tried.
    """
    position, expected, is_tar = 0, 0, _read(file, 257, 5) == b"ustar"
    for offset, block in blocks:
        places = set[int]()
        for magic in (ZIP, GZIP, BZIP2, XZ):
            place = block.find(magic)
            while 0 <= place < BLOCK:
                places.add(place)
                place = block.find(magic, place + 1)
        for place in sorted(places):
            start = offset + place
            if start < position or (found := _packed_at(file, start, block[place : place + 4])) is None:
                continue
            spend(1 << 10)
            found.certain |= start in (0, expected) or (is_tar and start % TAR == 0)
            yield found
            position = found.end
            # Behind a gzip stream another may begin; so it may where a member is stored as it is.
            expected = found.start if found.is_member else found.end


def _packed_at(file: BinaryIO, start: int, magic: bytes) -> Packed | None:
    if magic == ZIP:
        return _member(file, start)
    if magic.startswith(GZIP):
        return _gzip(_read(file, start, LONGEST), start)
    head = _read(file, start, 12)
    if magic.startswith(BZIP2):
        begins = head[3:4] in b"123456789" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")
        return Packed("bzip2", start, bz2.BZ2Decompressor, begins) if begins or start == 0 else None
    begins = struct.pack("<I", zlib.crc32(head[6:8])) == head[8:12]
    decoder = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, MEMORY)
    return Packed("xz", start, decoder, certain=begins) if begins or start == 0 else None


def _gzip(head: bytes, start: int) -> Packed | None:
    if len(head) < 10 or head[3] & 0xE0:
        return Packed("gzip", start, broken="Its header is broken or cut short.") if start == 0 else None
    flags, at = head[3], 10
    if flags & 4:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    for flag in (8, 16):  # a name, a comment
        if flags & flag:
            at = head.find(b"\0", at) + 1 or len(head)
    at += 2 * bool(flags & 2)
    return Packed("gzip", start + at, _Inflate, certain=False, is_sound=_follows, trailer=8)


def _follows(checksum: int, after: bytes) -> bool:
    return after[:4] == struct.pack("<I", checksum)


def _member(file: BinaryIO, start: int) -> Packed | None:
    """A member of a zip archive, by the header before it; `None` if there is none."""
    head = _read(file, start, 30 + LONGEST)
    if len(head) < 30:
        return None
    version, flags, method, checksum, _, size, name, extra = struct.unpack_from("<HHHxxxxIIIHH", head, 4)
    if version & 0xFF > 63 or method > 99 or name > LONGEST:
        return None
    member = Packed(head[30 : 30 + name].decode("utf-8", "backslashreplace"), start + 30 + name + extra, is_member=True)
    if flags & 1:
        member.broken = "It is encrypted."
    elif method in (8, 12):
        member.decoder = _Inflate if method == 8 else bz2.BZ2Decompressor
    elif method == 14:
        properties = _read(file, member.start, 9)
        dictionary = int.from_bytes(properties[5:9], "little")
        if len(properties) < 9 or properties[4] > 224 or dictionary > MEMORY:
            member.broken = "Its dictionary is broken or too large."
        else:
            rest, positions = properties[4] // 9, properties[4] % 9
            chain = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": positions, "lp": rest % 5, "pb": rest // 5}
            member.decoder = partial(lzma.LZMADecompressor, lzma.FORMAT_RAW, None, [chain])
            member.start += 9
            member.most = None if flags & 10 else size  # by a mark at its end, or after so many bytes
    elif method:
        member.broken = f"It is packed by method {method} of zip, which is not read."
    if flags & 8:
        member.is_sound = lambda checksum, after: _follows(checksum, after[4 * after.startswith(b"PK\x07\x08") :])
    else:
        member.is_sound = lambda found, after: found == checksum
    return member


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def unpacked(file: BinaryIO, packed: Packed, out: BinaryIO, spend: Spend) -> str:
    """Unpacks a stream as far as it goes.

    Args:
        file: that it is in.
        packed: where it is; its end is set.
        out: where its bytes go.
        spend: called with the numbers of bytes that were read and written.

    Returns:
        Why it could not be read to its end, or that it is not what it was; "" if nothing is wrong.
    """
    assert packed.decoder is not None
    decoder, at, checksum, packed.end = packed.decoder(), packed.start, 0, packed.start
    written, last_read = 0, at
    try:
        while not decoder.eof and written != packed.most:
            data = b""
            if decoder.needs_input:
                data, last_read = _read(file, at, STEP), at
                if not data:
                    return "It is cut short."
                at += len(data)
                spend(len(data))
            piece = decoder.decompress(data, STEP)
            written += out.write(piece)
            checksum = zlib.crc32(piece, checksum)
            spend(len(piece))
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file or the disk
            raise
        if packed.certain or written >= STEP:
            _last_bytes(file, packed, out, last_read, written)
        return f"It is broken: {error}."
    end = at - len(decoder.unused_data)
    packed.end = end + packed.trailer
    return (
        ""
        if packed.is_sound(checksum, _read(file, end, 16))
        else "Its checksum is another: some of it is not what it was."
    )


def _last_bytes(file: BinaryIO, packed: Packed, out: BinaryIO, last_read: int, written: int) -> None:
    """Unpacks a broken stream again, its end byte by byte: of the step in which a decoder fails, it gives nothing."""
    assert packed.decoder is not None
    decoder, at, again = packed.decoder(), packed.start, 0
    with suppress(*BROKEN):
        while at < last_read or not decoder.needs_input:
            data = _read(file, at, STEP) if decoder.needs_input else b""
            at += len(data)
            again += len(decoder.decompress(data, STEP))
        while not decoder.needs_input or (data := _read(file, at, 1)):
            data = data if decoder.needs_input else b""
            at += len(data)
            piece = decoder.decompress(data, max(1, min(STEP, written - again)))
            out.write(piece if again >= written else b"")
            again += len(piece)


@contextmanager
def decoded_columns(file: BinaryIO, seconds: int, note: Callable[[str], None]) -> Iterator[BinaryIO]:
    """What the columns of a Parquet or Arrow file hold, one after another, decoded in a process of its own.

    Args:
        file: with a handle of the system.
        seconds: of computing, after which the process is ended.
        note: called with the reason, if they could not all be decoded.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") | {"PYTHONPATH": paths}
    command = [sys.executable, os.path.abspath(__file__), str(seconds)]
    pipe, handle = subprocess.PIPE, file.fileno()
    file.flush()
    os.lseek(handle, 0, os.SEEK_SET)
    with subprocess.Popen(command, stdin=handle, stdout=pipe, stderr=pipe, env=os.environ | limits) as process:
        timer = threading.Timer(10 * seconds, process.kill)  # others may need the processor too
        timer.start()
        try:
            assert process.stdout is not None and process.stderr is not None
            yield cast(BinaryIO, process.stdout)
            at_end = not process.stdout.read(1)  # or who reads has stopped before, with nothing to look for
            why = process.stderr.read(LONGEST).decode(errors="replace") if at_end else ""
        finally:
            timer.cancel()
            process.kill()
    if at_end and process.returncode:
        note(f"Its columns cannot be decoded, or not in {seconds} seconds: {why.strip() or 'the process was ended'}.")


def _write_columns(seconds: int) -> None:
    """Reads a file from standard input, and writes every buffer of its columns to standard output."""
    del sys.path[0]  # this folder
    try:
        import pyarrow
        from pyarrow import ipc, parquet

        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        with suppress(ImportError, OSError, ValueError):  # where the system can be asked for it
            import resource

            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            for limit, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, taken + 2 * MEMORY)):
                resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))
        with open(0, "rb", closefd=False) as raw:
            start = raw.read(8)
            raw.seek(0)
            if start.startswith(COLUMNS[0]):
                batches = parquet.ParquetFile(raw, pre_buffer=False).iter_batches(1 << 12, use_threads=False)
            elif start.startswith(COLUMNS[1]):
                reader = ipc.open_file(raw)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                batches = iter(ipc.open_stream(raw))
            for batch in batches:
                for column in batch.columns:
                    arrays = [column, column.dictionary] if pyarrow.types.is_dictionary(column.type) else [column]
                    for buffer in (buffer for array in arrays for buffer in array.buffers() if buffer):
                        sys.stdout.buffer.write(buffer)
        sys.stdout.buffer.flush()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}"[:200])


if __name__ == "__main__":
    _write_columns(int(sys.argv[1]))
