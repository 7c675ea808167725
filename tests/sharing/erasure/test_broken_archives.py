"""What a broken archive still holds is read to its last byte, and that it is broken is told."""

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from excise.bottlenecks.site import bottlenecks
from excise.sharing.erasure import ErasedRows
from excise.sharing.erasure.unpacking import Packed, _Inflate, unpacked
from tests.helpers.tiny import SITE, codebook_t5

CODES = [1, 4, 7]
NOISE = random.Random(0).randbytes(400_000)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return codebook_t5()


@pytest.fixture(scope="module")
def erased(model) -> ErasedRows:
    return ErasedRows.of(model, {SITE: CODES})


@pytest.fixture(scope="module")
def row(model) -> bytes:
    return bottlenecks(model)[SITE].codebook[4].detach().numpy().tobytes()


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED, streamed: bool = False) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(Unseekable(content) if streamed else content, "w", method, compresslevel=1) as archive:
        archive.writestr("first", data)
        archive.writestr("second", NOISE[:1000])
    return content.getvalue()


class Unseekable:
    """What a zip archive is written to with its checksums behind the members."""

    def __init__(self, content: io.BytesIO):
        self.write, self.flush = content.write, content.flush


def tarred(data: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        about = tarfile.TarInfo("first.gz")
        about.size = len(data)
        archive.addfile(about, io.BytesIO(data))
    return content.getvalue()


def packed_array(row: bytes) -> bytes:
    np.savez_compressed(content := io.BytesIO(), ema=np.frombuffer(row + NOISE[:100_000], np.uint8))
    return content.getvalue()


def changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


def cut(content: bytes, part: float = 0.8) -> bytes:
    return content[: int(part * len(content))]


def with_other_checksum(content: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data).to_bytes(4, "little")
    assert checksum in content
    return content.replace(checksum, bytes(4))


BROKEN = {
    "gzip with a wrong checksum": lambda data: gzip.compress(data)[:-8] + bytes(8),
    "gzip without its end": lambda data: gzip.compress(data)[:-8],
    "gzip cut short": lambda data: cut(gzip.compress(data)),
    "gzip with a wrong byte": lambda data: changed(gzip.compress(data), 200_000),
    "gzip behind a broken one": lambda data: cut(gzip.compress(NOISE[:5_000])) + gzip.compress(data),
    "gzip in a broken gzip": lambda data: cut(gzip.compress(gzip.compress(data) + NOISE)),
    "gzip in a tar archive cut short": lambda data: cut(tarred(gzip.compress(data))),
    "bzip2 cut short": lambda data: cut(bz2.compress(data, 1)),
    "bzip2 with a wrong byte": lambda data: changed(bz2.compress(data, 1), 200_000),
    "xz cut short": lambda data: cut(lzma.compress(data)),
    "xz with a wrong byte": lambda data: changed(lzma.compress(data), 200_000),
    "zip with a wrong checksum": lambda data: with_other_checksum(zipped(data), data),
    "streamed zip with a wrong checksum": lambda data: with_other_checksum(zipped(data, streamed=True), data),
    "zip with a wrong byte": lambda data: changed(zipped(data), 200_000),
    "zip cut short": lambda data: cut(zipped(data)),
    "zip without its list": lambda data: cut(zipped(data), 0.999),
    "zip cut short in front": lambda data: NOISE[:100] + changed(zipped(data), 200_000),
    "zip of bzip2 cut short": lambda data: cut(zipped(data, zipfile.ZIP_BZIP2)),
    "zip of lzma cut short": lambda data: cut(zipped(data, zipfile.ZIP_LZMA)),
    "zip in a zip cut short": lambda data: cut(zipped(zipped(data))),
    "gzip in a zip as it is": lambda data: zipped(changed(gzip.compress(data[:5_000]), 3_000), zipfile.ZIP_STORED),
    "arrays cut short": lambda data: cut(packed_array(data[:256])),
}
WHOLE = {
    "zip behind other bytes": lambda data: NOISE[:100_000] + zipped(data),
    "zip before other bytes": lambda data: zipped(data) + NOISE[:1_000],
    "gzip before other bytes": lambda data: gzip.compress(data) + NOISE[:1_000],
    "gzip behind gzip": lambda data: gzip.compress(b"first") + gzip.compress(data),
    "streamed zip": lambda data: zipped(data, streamed=True),
    "zip of lzma": lambda data: zipped(data, zipfile.ZIP_LZMA),
    "zip of stored gzip": lambda data: zipped(gzip.compress(data), zipfile.ZIP_STORED),
    "gzip in a tar archive": lambda data: tarred(gzip.compress(data)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_row_before_the_break_is_found_and_the_break_is_told(erased, row, tmp_path, kind):
    (tmp_path / "x").write_bytes(BROKEN[kind](row + NOISE))
    left = erased.find(tmp_path / "x")
    assert {leftover.codes for leftover in left if leftover.site} == {(4,)}
    assert any("could not be read" in str(leftover) for leftover in left)


@pytest.mark.parametrize("kind", WHOLE)
def test_what_stands_around_an_archive_changes_nothing(erased, row, tmp_path, kind):
    (tmp_path / "x").write_bytes(WHOLE[kind](row + NOISE))
    assert {leftover.codes for leftover in erased.find(tmp_path / "x")} == {(4,)}
    (tmp_path / "x").write_bytes(WHOLE[kind](NOISE))
    assert erased.find(tmp_path / "x") == []


DECODERS = {
    "deflate": (lambda data: zlib.compress(data, wbits=-15), _Inflate),
    "bzip2": (lambda data: bz2.compress(data, 1), bz2.BZ2Decompressor),
    "xz": (lzma.compress, lzma.LZMADecompressor),
}


@settings(max_examples=60)
@given(st.sampled_from(list(DECODERS)), st.integers(0, 2**32 - 1), st.floats(0, 0.999), st.booleans())
def test_it_unpacks_whatever_comes_out_byte_by_byte(kind, seed, part, is_cut):
    pack, decoder = DECODERS[kind]
    rng = random.Random(seed)
    data = b"".join(rng.choice([rng.randbytes(50), bytes(300)]) for _ in range(rng.randint(1, 400)))
    content = pack(data)
    content = cut(content, part) if is_cut else changed(content, int(part * len(content)))
    one_by_one, plain = bytearray(), decoder()
    try:
        for i in range(len(content)):
            one_by_one += plain.decompress(content[i : i + 1], 1) if plain.needs_input else b""
            while not plain.needs_input and not plain.eof:
                one_by_one += plain.decompress(b"", 1)
            if plain.eof:
                break
        whole = plain.eof
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        whole = False
    why = unpacked(io.BytesIO(content), Packed(kind, 0, decoder), out := io.BytesIO(), lambda size: None)
    assert out.getvalue() == bytes(one_by_one)
    assert (why == "") == whole


def test_a_file_that_shrinks_or_grows_while_it_is_read_is_told(erased, row, tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    for size in (10, 1_000_000):
        path.write_bytes(row + bytes(100_000))
        search = type(erased._search).find

        def find(self, stream, size=size, search=search):
            with open(path, "r+b") as file:
                file.truncate(size)
            return search(self, stream)

        with monkeypatch.context() as patch:
            patch.setattr(type(erased._search), "find", find)
            left = erased.find(path)
        assert any("changed while it was read" in str(leftover) for leftover in left)


def test_a_file_or_folder_that_may_not_be_read_is_told_and_the_others_are_read(erased, row, tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    for name in ("a", "b", "closed/c"):
        (tmp_path / name).write_bytes(row)
    opened, listed = os.open, os.scandir

    def refuse(how, path, *args, **kwargs):
        if Path(os.fspath(path)).name in ("a", "closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return how(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", lambda *args, **kwargs: refuse(opened, *args, **kwargs))
    monkeypatch.setattr(os, "scandir", lambda *args, **kwargs: refuse(listed, *args, **kwargs))
    left = {leftover.file: str(leftover) for leftover in erased.find_in(tmp_path)}
    assert left.keys() == {"a", "b", "closed"}
    assert all("could not be read" in left[name] and "Permission denied" in left[name] for name in ("a", "closed"))
