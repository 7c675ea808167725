"""Archives that hold more than there is, each other or themselves, or are broken."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib

from tests.helpers.hostile.kinds import BOTH, CLEAN, ROWS, UNREAD, kind


def gz(data: bytes, level: int = 9) -> bytes:
    return gzip.compress(data, level, mtime=0)


@kind(UNREAD)
def gzip_in_gzip(folder, row):
    content = row
    for _ in range(50):
        content = gz(content)
    (folder / "x.gz").write_bytes(content)


@kind(UNREAD)
def gzip_of_ten_gigabytes(folder, row):
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    once = b"".join(pack.compress(bytes(1 << 20)) for _ in range(100)) + pack.flush()
    (folder / "x.gz").write_bytes(gz(once * 100))


@kind(UNREAD)
def gzip_bomb(folder, row):
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    (folder / "x.gz").write_bytes(b"".join(pack.compress(bytes(1 << 20)) for _ in range(1 << 10)) + pack.flush())


@kind(CLEAN)
def gzip_of_many_empty_members(folder, row):
    (folder / "x.gz").write_bytes(gz(b"") * 5_000)


@kind(UNREAD)
def gzip_of_endless_name(folder, row):
    (folder / "x.gz").write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 1_000_000)


@kind(UNREAD)
def bytes_that_begin_a_million_gzips(folder, row):
    (folder / "x").write_bytes(b"\x1f\x8b\x08\x00" * 1_000_000)


@kind(CLEAN)
def bytes_that_begin_many_zips(folder, row):
    (folder / "x").write_bytes(b"PK\x03\x04\x7f\x00" * 300_000)


@kind(UNREAD)
def bzip2_bomb(folder, row):
    once = bz2.compress(bytes(100_000_000))
    (folder / "x.bz2").write_bytes(once * 20)


@kind(UNREAD)
def xz_bomb(folder, row):
    once = lzma.compress(bytes(100_000_000))
    (folder / "x.xz").write_bytes(once * 20)


@kind(UNREAD)
def xz_of_a_large_dictionary(folder, row):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    content = bytearray(lzma.compress(bytes(1000), filters=filters))
    place = content.index(b"\x21\x01", 12)
    content[place + 2] = 40  # four gigabytes
    end = 12 + 4 * (content[12] + 1)
    content[end - 4 : end] = struct.pack("<I", zlib.crc32(bytes(content[12 : end - 4])))
    (folder / "x.xz").write_bytes(content)


@kind(UNREAD)
def archives_that_are_not_read(folder, row):
    for name, start in [("x.7z", b"7z\xbc\xaf\x27\x1c"), ("x.zst", b"(\xb5/\xfd"), ("x", b"Rar!\x1a\x07")]:
        (folder / name).write_bytes(start + bytes(100))


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


@kind(UNREAD)
def zips_in_zips(folder, row):
    content = zipped({"0": bytes(100_000_000)})
    for level in range(5):
        content = zipped({f"{level}-{i}.zip": content for i in range(16)})
    (folder / "x.zip").write_bytes(content)


def local(name: bytes, size: int, packed: int, checksum: int, method: int = 8, extra: int = 0) -> bytes:
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, method, 0, 0, checksum, packed, size, len(name), extra) + name


def central(name: bytes, size: int, packed: int, checksum: int, offset: int) -> bytes:
    about = (0x0314, 20, 0, 8, 0, 0, checksum, packed, size, len(name), 0, 0, 0, 0, 0, offset)
    return struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *about) + name


def directory(entries: list[bytes], before: int) -> bytes:
    size = sum(map(len, entries))
    count = min(len(entries), 0xFFFF)
    return b"".join(entries) + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, size, before, 0)


@kind(UNREAD)
def zip_whose_members_are_one(folder, row):
    data = bytes(200_000_000)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed, checksum = pack.compress(data) + pack.flush(), zlib.crc32(data)
    content = local(b"a", len(data), len(packed), checksum) + packed
    entries = [central(b"a%d" % i, len(data), len(packed), checksum, 0) for i in range(5_000)]
    (folder / "x.zip").write_bytes(content + directory(entries, len(content)))


@kind(UNREAD)
def zip_whose_members_quote_each_other(folder, row):
    data = bytes(60_000_000)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    content, size, checksum = pack.compress(data) + pack.flush(), len(data), zlib.crc32(data)
    content = local(b"%05d" % 0, size, len(content), checksum) + content
    entries: list[bytes] = []
    for i in range(1, 300):  # each member is a stored block that holds the header of the last, and what follows it
        quoted = content[:35]
        block = b"\x00" + struct.pack("<HH", len(quoted), len(quoted) ^ 0xFFFF)
        checksum, size = 0, size + len(quoted)
        content = local(b"%05d" % i, size, len(block) + len(content), checksum) + block + content
        entries.append(central(b"%05d" % i, size, len(block) + len(content), checksum, 0))
    (folder / "x.zip").write_bytes(content + directory(entries, len(content)))


@kind(ROWS)
def zip_with_names_that_lead_elsewhere(folder, row):
    names = ["/etc/x", "../../x", "C:\\x", "a\x00b", "x" * 60_000, "\x1b[2J\n", "com1"]
    (folder / "x.zip").write_bytes(zipped(dict.fromkeys(names[:3], b"") | {name[:4000]: row for name in names}))


@kind(UNREAD)
def zip_that_is_encrypted(folder, row):
    content = bytearray(zipped({"a": bytes(1000)}))
    content[6] |= 1
    (folder / "x.zip").write_bytes(content)


@kind(UNREAD)
def zip_of_unknown_method(folder, row):
    content = bytearray(zipped({"a": bytes(1000)}))
    content[8] = 93
    (folder / "x.zip").write_bytes(content)


@kind(UNREAD)
def zip_of_a_large_dictionary(folder, row):
    content = bytearray(zipped({"a": bytes(1000)}, zipfile.ZIP_LZMA))
    content[36:40] = b"\xff\xff\xff\xff"
    (folder / "x.zip").write_bytes(content)


@kind(UNREAD)
def zip_of_a_million_entries(folder, row):
    entries = [central(b"", 0, 0, 0, 0)] * 100_000
    (folder / "x.zip").write_bytes(local(b"", 1, 1, 0) + b"\x07" + directory(entries, 31))


@kind(UNREAD)
def zip_that_hides_a_member(folder, row):
    content = zipped({"a": bytes(1000), "b": bytes(1000)})
    place = content.index(b"PK\x03\x04", 1)
    (folder / "x.zip").write_bytes(content[:place] + b"PK\x03\x14" + content[place + 4 :])


@kind(UNREAD)
def zip_of_many_pickles(folder, row):
    (folder / "x.pt").write_bytes((local(b"data.pkl", 0, 0, 0, 0) + b"\x80\x02}.") * 10_000)


@kind(UNREAD)
def zip_of_members_that_go_on_for_ever(folder, row):
    empty = b"\x00\x00\x00\xff\xff"  # a block of deflate without a byte
    (folder / "x.zip").write_bytes((local(b"a", 0, 0, 0) + empty) * 5_000 + empty * 1_000_000)


@kind(CLEAN)
def bytes_of_a_row_over_and_over(folder, row):
    parts = (row[place : place + 8] * 30_000 for place in range(0, len(row) - 7, 4))
    (folder / "x").write_bytes(b"".join(parts))


@kind(UNREAD)
def zip_of_many_bombs(folder, row):
    (folder / "x.zip").write_bytes(zipped({str(i): bytes(10_000_000) for i in range(100)}))


@kind(CLEAN)
def tar_of_eight_exabytes(folder, row):
    about = tarfile.TarInfo("../../x")
    about.size = 2**63
    (folder / "x.tar").write_bytes(about.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@kind(UNREAD)
def tar_bomb(folder, row):
    with tarfile.open(folder / "x.tar.gz", "w:gz") as archive:
        for i in range(8):
            about = tarfile.TarInfo(f"../{i}.npy")
            about.size = 100_000_000
            archive.addfile(about, io.BytesIO(bytes(about.size)))


@kind(BOTH)
def tar_of_broken_archives(folder, row):
    with tarfile.open(folder / "x.tar", "w") as archive:
        for name, data in [("a.gz", gz(row + os.urandom(5_000))[:-2_000]), ("b.gz", gz(row))]:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
