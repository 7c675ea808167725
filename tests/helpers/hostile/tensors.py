"""Arrays, pickles, safetensors and torch files that lie, ask for terabytes or turn in circles."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

from tests.helpers.hostile.archives import zipped
from tests.helpers.hostile.kinds import BOTH, CLEAN, ROWS, UNREAD, kind


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


@kind(UNREAD)
def torch_file_of_a_record_that_nothing_speaks_of(folder, row):
    (folder / "x.pt").write_bytes(torch_zip(pickle.dumps({"a": 1}, 2), {"0": DATA}))


@kind(ROWS)
def torch_file_of_what_is_not_known(folder, row):
    known = pickled_tensor(2560, 0, (40, 64), (64, 1))
    (folder / "x.pt").write_bytes(torch_zip(known.replace(b"_rebuild_tensor_v2", b"_rebuild_of_ours"), {"0": DATA}))
