"""Files of strangers that ask for more than there is, turn in circles, lie or break off; each kind by its name.

A kind makes files in a folder. Given bytes of an erased row, it plants them where a reader can get at them, or tells by
its name that there are none. Values are small: none of these files is larger than some megabytes on a disk.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from pyarrow import feather

Make = Callable[[Path, bytes], None]
# What an audit says of each kind: that it could not be read, that a row is there, both, or nothing.
UNREAD: dict[str, Make] = {}
ROWS: dict[str, Make] = {}
BOTH: dict[str, Make] = {}
CLEAN: dict[str, Make] = {}


def kind(*of: dict[str, Make]) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        for kinds in of:
            kinds[make.__name__] = make
        return make

    return add


def npy(header: str, data: bytes = b"") -> bytes:
    head = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def array_of(shape: str, descr: str = "'<f4'", data: bytes = b"") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", data)


@kind(UNREAD)
def npy_that_asks_for_terabytes(folder, row):
    content = array_of("(1000000, 1000000, 10)")
    (folder / "x.npy").write_bytes(content + bytes(192 - len(content)))


@kind(UNREAD)
def npy_of_objects(folder, row):
    np.save(folder / "x.npy", np.array([{}, None]), allow_pickle=True)


@kind(UNREAD)
def npy_of_negative_shape(folder, row):
    (folder / "x.npy").write_bytes(array_of("(-1, -8)"))


@kind(UNREAD)
def npy_with_nested_header(folder, row):
    (folder / "x.npy").write_bytes(npy("(" * 9000))


@kind(UNREAD)
def npy_of_records(folder, row):
    np.save(folder / "x.npy", np.zeros(3, [("a", "f4"), ("b", "i4")]))


@kind(BOTH)
def npy_that_is_cut_short(folder, row):
    (folder / "x.npy").write_bytes(array_of("(1000, 1000)", data=row))


@kind(UNREAD)
def npy_of_the_models_size_without_data(folder, row):
    (folder / "x.npy").write_bytes(array_of("(40, 64)", data=bytes(100)))


def self_referencing() -> bytes:
    return b"\x80\x02]q\x00h\x00a."


@kind(UNREAD)
def pickle_that_holds_itself(folder, row):
    (folder / "x.pkl").write_bytes(self_referencing())


@kind(UNREAD)
def torch_file_that_holds_itself(folder, row):
    itself: list = []
    itself.append(itself)
    torch.save(itself, folder / "x.pt")


@kind(UNREAD)
def pickle_of_nine_bytes(folder, row):
    (folder / "x.bin").write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f0")


@kind(CLEAN)
def pickle_with_a_far_memo(folder, row):
    (folder / "x.bin").write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")


class Touching:
    """What makes a file beside itself where it is unpickled."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@kind(CLEAN)
def pickle_that_runs_code(folder, row):
    (folder / "x.pkl").write_bytes(pickle.dumps(Touching(folder / "ran")))


@kind(CLEAN)
def torch_file_that_runs_code(folder, row):
    torch.save({"a": Touching(folder / "ran")}, folder / "x.pt")


@kind(UNREAD)
def old_torch_file_that_runs_code(folder, row):
    torch.save({"a": Touching(folder / "ran")}, folder / "x.pt", _use_new_zipfile_serialization=False)


@kind(CLEAN)
def pickle_of_lists_that_double(folder, row):
    steps = b"]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(60))
    (folder / "x.pkl").write_bytes(b"\x80\x02" + steps + b".")


@kind(CLEAN)
def pickle_of_keys_that_double(folder, row):
    steps = b"K\x01q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
    (folder / "x.pkl").write_bytes(b"\x80\x02}(" + steps + b"\x86K\x01u.".replace(b"\x86", b""))


@kind(CLEAN)
def pickle_of_keys_that_collide(folder, row):
    keys = b"".join(pickle.dumps(i * (2**61 - 1), 2)[2:-1] + b"K\x01" for i in range(20_000))
    (folder / "x.pkl").write_bytes(b"\x80\x02}(" + keys + b"u.")


@kind(UNREAD)
def pickle_of_lists_in_lists(folder, row):
    (folder / "x.pkl").write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")


@kind(CLEAN)
def pickle_of_a_million_steps(folder, row):
    (folder / "x.pkl").write_bytes(b"\x80\x02" + b"]" * 1_500_000 + b".")


@kind(UNREAD)
def pickle_of_endless_bytes(folder, row):
    (folder / "x.pkl").write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.")


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
def torch_file_of_a_record_that_nothing_speaks_of(folder, row):
    (folder / "x.pt").write_bytes(torch_zip(pickle.dumps({"a": 1}, 2), {"0": DATA}))


@kind(ROWS)
def torch_file_of_what_is_not_known(folder, row):
    known = pickled_tensor(2560, 0, (40, 64), (64, 1))
    (folder / "x.pt").write_bytes(torch_zip(known.replace(b"_rebuild_tensor_v2", b"_rebuild_of_ours"), {"0": DATA}))


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


def safetensors(header: bytes | dict, data: bytes = b"", length: int | None = None) -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def described(shape, begin: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SAFETENSORS = {
    "of_a_header_of_2_63": lambda row: safetensors({"a": described([1], 0, 4)}, bytes(9), 1 << 63),
    "of_a_header_behind_its_end": lambda row: safetensors({"a": described([1], 0, 4)}, bytes(9), 1 << 20),
    "of_tensors_over_one_another": lambda row: safetensors(
        {"a": described([40, 64], 0, 10240), "b": described([40, 64], 40, 10280)}, bytes(10280)
    ),
    "of_negative_shape": lambda row: safetensors({"a": described([-40, -64], 0, 10240)}, bytes(10240)),
    "of_shapes_that_are_texts": lambda row: safetensors({"a": described("40", 0, 10240)}, bytes(10240)),
    "of_nan": lambda row: safetensors(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,Infinity]}}'),
    "of_lists_in_lists": lambda row: safetensors(b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"),
    "of_a_huge_number": lambda row: safetensors(b'{"a":{"dtype":"F32","shape":[' + b"9" * 1_000_000 + b"]}}"),
    "of_a_huge_header": lambda row: safetensors(b'{"a":[' + b"[]," * 7_000_000 + b"[]]}"),
    "of_a_header_of_empty_lists": lambda row: safetensors(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"),
    "of_offsets_behind_its_end": lambda row: safetensors({"a": described([40, 64], 1 << 40, (1 << 40) + 10240)}),
    "of_offsets_the_wrong_way": lambda row: safetensors({"a": described([40, 64], 10240, 0)}, bytes(10240)),
    "of_one_tensor_under_many_names": lambda row: safetensors(
        {f"{i}": described([40, 64], 0, 10240) for i in range(60_000)}, bytes(10240)
    ),
    "of_terabytes": lambda row: safetensors({"a": described([1 << 40], 0, 1 << 42)}, bytes(100)),
    "of_unknown_type": lambda row: safetensors({"a": described([40, 64], 0, 10240, "F4")}, bytes(10240)),
    "that_is_a_list": lambda row: safetensors(b"[1, 2]"),
    "that_is_text": lambda row: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "of_seven_bytes": lambda row: b"1234567",
}
for _name, _make in SAFETENSORS.items():
    UNREAD[f"safetensors_{_name}"] = lambda folder, row, make=_make: (
        (folder / "x.safetensors").write_bytes(make(row)) and None
    )


@kind(BOTH)
def safetensors_of_the_same_name_twice(folder, row):
    entry = json.dumps(described([40, 64], 0, 10240))
    other = json.dumps(described([40, 64], 10240, 20480))
    header = f'{{"ema": {entry}, "ema": {other}}}'.encode()
    (folder / "x.safetensors").write_bytes(safetensors(header, np.ones(2560, "f4").tobytes() + bytes(10300)))


@kind(BOTH)
def safetensors_that_is_cut_short(folder, row):
    header = {"a": described([1000], 0, 4000), "ema": described([40, 64], 4000, 14240)}
    (folder / "x.safetensors").write_bytes(safetensors(header, np.ones(2000, "f4").tobytes()))


def torch_zip(pickled: bytes, records: dict[str, bytes]) -> bytes:
    members = {"archive/data.pkl": pickled} | {f"archive/data/{key}": data for key, data in records.items()}
    return zipped(members | {"archive/version": b"3\n"}, zipfile.ZIP_STORED)


def pickled_tensor(count: int, offset: int, shape: tuple, strides: tuple, key: str = "0") -> bytes:
    """The pickle of a tensor as torch writes it, whatever its numbers are."""

    def number(value) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    storage = b"(" + number("storage") + b"ctorch\nFloatStorage\n" + number(key) + number("cpu") + number(count) + b"tQ"
    sizes = b"".join(b"(" + b"".join(map(number, values)) + b"t" for values in (shape, strides))
    ordered = b"ccollections\nOrderedDict\n)R"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sizes + b"\x89" + ordered + b"tR"
    return b"\x80\x02}" + number("ema") + tensor + b"s."


DATA = np.ones(2560, "f4").tobytes()
TORCH = {
    "without_its_record": (2560, 0, (40, 64), (64, 1), {}),
    "that_points_behind_its_storage": (2560, 2000, (40, 64), (64, 1), {"0": DATA}),
    "spread_over_terabytes": (1 << 50, 0, (40, 64), (1 << 40, 1), {"0": DATA}),
    "of_a_huge_storage": (1 << 60, 1 << 59, (40, 64), (64, 1), {"0": DATA}),
    "of_negative_strides": (2560, 2559, (40, 64), (-64, -1), {"0": DATA}),
    "of_negative_offset": (2560, -5, (40, 64), (64, 1), {"0": DATA}),
    "of_numbers_that_are_texts": (2560, 0, ("40", "64"), (64, 1), {"0": DATA}),
    "of_a_number_of_a_thousand_digits": (2560, 0, (10**1000, 64), (64, 1), {"0": DATA}),
}
for _name, (*_numbers, _records) in TORCH.items():
    UNREAD[f"torch_file_{_name}"] = lambda folder, row, numbers=_numbers, records=_records: (
        (folder / "x.pt").write_bytes(torch_zip(pickled_tensor(*numbers), records)) and None
    )


@kind(ROWS)
def torch_file_of_one_number_over_and_over(folder, row):
    (folder / "x.pt").write_bytes(torch_zip(pickled_tensor(1, 0, (40, 64), (0, 0)), {"0": DATA[:4]}))


@kind(CLEAN)
def torch_file_of_terabytes_without_bytes(folder, row):
    (folder / "x.pt").write_bytes(torch_zip(pickled_tensor(1, 0, (1 << 20, 1 << 20), (0, 0)), {"0": DATA[:4]}))


@kind(UNREAD)
def torch_file_with_a_broken_pickle(folder, row):
    (folder / "x.pt").write_bytes(torch_zip(b"\x80\x02(((((t", {"0": DATA}))


@kind(BOTH)
def old_torch_file_of_exabytes(folder, row):
    content = io.BytesIO()
    torch.save({"ema": torch.ones(40, 64)}, content, _use_new_zipfile_serialization=False)
    data = content.getvalue()
    place = data.rindex(struct.pack("<Q", 2560) + b"\x00\x00\x80\x3f")
    (folder / "x.pt").write_bytes(data[:place] + struct.pack("<Q", 1 << 62) + data[place + 8 :])


@kind(BOTH)
def old_torch_file_that_is_cut_short(folder, row):
    content = io.BytesIO()
    torch.save({"ema": torch.ones(40, 64)}, content, _use_new_zipfile_serialization=False)
    (folder / "x.pt").write_bytes(content.getvalue()[:-1000])


@kind(BOTH)
def torch_file_that_is_cut_short(folder, row):
    torch.save({"ema": torch.ones(40, 64)}, folder / "x.pt")
    content = (folder / "x.pt").read_bytes()
    (folder / "x.pt").write_bytes(content[: content.index(DATA) + 9_000])


def parquet(values: list | None = None) -> bytes:
    table = pyarrow.table({"a": values or [float(i) for i in range(1000)]})
    pyarrow.parquet.write_table(table, content := io.BytesIO())
    return content.getvalue()


@kind(UNREAD)
def parquet_with_a_broken_footer(folder, row):
    content = bytearray(parquet())
    content[-100:-8] = bytes(92)
    (folder / "x.parquet").write_bytes(content)


@kind(UNREAD)
def parquet_with_an_endless_footer(folder, row):
    (folder / "x.parquet").write_bytes(parquet()[:-8] + b"\xff\xff\xff\x7fPAR1")


@kind(UNREAD)
def parquet_that_is_cut_short(folder, row):
    (folder / "x.parquet").write_bytes(parquet()[:-100])


@kind(UNREAD)
def parquet_bomb(folder, row):
    array = pyarrow.array(np.zeros(1_000_000))
    table = pyarrow.Table.from_batches([pyarrow.record_batch({"a": array})] * 300)
    pyarrow.parquet.write_table(table, folder / "x.parquet", compression="zstd")


@kind(UNREAD)
def parquet_of_one_large_list(folder, row):
    zeros = pyarrow.array(np.zeros(80_000_000, "f4"))
    table = pyarrow.table({"a": pyarrow.ListArray.from_arrays([0, len(zeros)], zeros)})
    pyarrow.parquet.write_table(table, folder / "x.parquet", compression="zstd", row_group_size=1)


@kind(UNREAD)
def arrow_with_a_broken_footer(folder, row):
    feather.write_feather(pyarrow.table({"a": list(range(1000))}), folder / "x.arrow")
    content = bytearray((folder / "x.arrow").read_bytes())
    content[-60:-10] = b"\xff" * 50
    (folder / "x.arrow").write_bytes(content)


@kind(UNREAD)
def arrow_bomb(folder, row):
    table = pyarrow.table({"a": pyarrow.array(np.zeros(100_000_000))})
    feather.write_feather(table, folder / "x.feather", compression="zstd", chunksize=10_000_000)


@kind(CLEAN)
def png_bomb(folder, row):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9))
    (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))


@kind(ROWS)
def formats_that_are_read_as_bytes(folder, row):
    starts = {"x.gguf": b"GGUF\x03\0\0\0" + b"\xff" * 16, "x.h5": b"\x89HDF\r\n\x1a\n", "x.msgpack": b"\x81\xa1a\xc6"}
    for name, start in {**starts, "x.onnx": b"\x08\x07", "x.index": b"\xff" * 20, "x.unknown": b""}.items():
        (folder / name).write_bytes(start + row + b"\xff" * 100)


@kind(ROWS)
def file_of_a_terabyte_of_holes(folder, row):
    with open(folder / "x.bin", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(row)


@kind(UNREAD)
def fifo(folder, row):
    os.mkfifo(folder / "x.safetensors")


@kind(UNREAD)
def socket_file(folder, row):
    here = os.open(".", os.O_RDONLY)
    os.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("x.bin")
    os.fchdir(here)
    os.close(here)


@kind(UNREAD)
def links_that_turn_in_circles(folder, row):
    (folder / "x.bin").symlink_to("y.bin")
    (folder / "y.bin").symlink_to("x.bin")


@kind(UNREAD)
def link_to_an_endless_device(folder, row):
    (folder / "x.bin").symlink_to("/dev/zero")


@kind(UNREAD)
def link_to_nothing(folder, row):
    (folder / "x.bin").symlink_to("nowhere")


@kind(UNREAD)
def link_to_the_folder_itself(folder, row):
    (folder / "x").symlink_to(".")


@kind(ROWS)
def link_to_a_file_elsewhere(folder, row):
    elsewhere = folder.with_name(f"{folder.name}-elsewhere")
    elsewhere.write_bytes(row)
    (folder / "x.bin").symlink_to(elsewhere)


@kind(ROWS)
def folder_named_as_a_file(folder, row):
    (folder / "x.safetensors" / "y.npz").mkdir(parents=True)
    (folder / "x.safetensors" / "y.npz" / "z").write_bytes(row)


@kind(ROWS)
def names_with_signs_that_are_not_shown(folder, row):
    for name in (b"a\nb", b"\x1b[2J", b"\xff\xfe", "\u202egnp.exe".encode(), b" ", b"-rf"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(row)


@kind(CLEAN)
def empty_files(folder, row):
    for name in ("x.safetensors", "x.npy", "x.gz", "x.zip", "x.pt", "x.parquet", "x"):
        (folder / name).touch()


@kind(ROWS)
def folders_in_folders(folder, row):
    here = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    for _ in range(100):
        os.mkdir("a")
        os.chdir("a")
    Path("x").write_bytes(row)
    os.fchdir(here)
    os.close(here)


KINDS: dict[str, Make] = {**UNREAD, **ROWS, **BOTH, **CLEAN}
# Those that take more than a second to be made and looked through; one of each format is looked through in any case.
LARGE = (
    "arrow_bomb",
    "bzip2_bomb",
    "gzip_of_ten_gigabytes",
    "parquet_bomb",
    "parquet_of_one_large_list",
    "safetensors_of_one_tensor_under_many_names",
    "tar_bomb",
    "xz_bomb",
    "zip_of_many_bombs",
    "zip_whose_members_are_one",
    "zip_whose_members_quote_each_other",
    "zips_in_zips",
)
