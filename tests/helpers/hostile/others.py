"""Tables, pictures, holes, pipes, links and names that are not what they seem."""

import io
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from pyarrow import feather

from tests.helpers.hostile.kinds import CLEAN, ROWS, UNREAD, kind


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
