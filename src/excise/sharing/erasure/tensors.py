"""Tensors in a file that could hold something of codes, whatever the file is called."""

import math
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

ARRAY = b"\x93NUMPY"  # what a NumPy file starts with
# What a torch file from before version 1.6 starts with: the pickle of torch's magic number.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class OldTorchFileError(ValueError):
    """A torch file from before version 1.6 that holds more than weights."""


def tensors(path: Path, sizes: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors in a safetensors, torch or NumPy file, those with one of some numbers of elements.

    Torch files are read without running code from them. Where one holds more than weights can be read so, its storages
    are given, as each type of number that they may be of. Of any other file, nothing.

    Raises:
        OldTorchFileError: if the file is from before torch 1.6 and cannot be read without running code from it.
    """
    with open(path, "rb") as stream:
        start = stream.read(9)
    if start[8:] == b"{":
        yield from _safetensors(path, sizes)
    elif start[:2] in (b"PK", b"\x80\x02"):
        yield from _torch(path, sizes)
    elif start.startswith(ARRAY):
        with open(path, "rb") as stream:
            yield from _array("array", stream, sizes)


def _safetensors(path: Path, sizes: set[int]) -> Iterator[tuple[str, Tensor]]:
    try:
        file = safe_open(path, "pt")
    except (SafetensorError, OSError):
        return
    with file:
        for name in file.keys():  # noqa: SIM118 (it is no dict)
            if math.prod(file.get_slice(name).get_shape()) in sizes:
                yield name, file.get_tensor(name)


def _torch(path: Path, sizes: set[int]) -> Iterator[tuple[str, Tensor]]:
    archive = zipfile.is_zipfile(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, OSError):
        if archive:
            yield from _storages(path, sizes)
            return
        with open(path, "rb") as stream:
            if stream.read(len(OLD_TORCH)) == OLD_TORCH:
                raise OldTorchFileError(
                    "a torch file from before version 1.6 with more than weights in it, which is not read. Save it "
                    "again with torch.save, or remove it"
                ) from None
        return
    for name, tensor in _in(content, ""):
        if tensor.numel() in sizes:
            yield name, tensor


def _in(content: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield name, content.detach()
    elif isinstance(content, dict | list | tuple):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _in(value, f"{name}.{key}" if name else str(key))


def _storages(path: Path, sizes: set[int]) -> Iterator[tuple[str, Tensor]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    yield from _array(member.filename, stream, sizes)
            if not any(member.file_size == size * dtype.itemsize for size in sizes for dtype in FLOATS):
                continue
            stored = torch.from_numpy(np.frombuffer(archive.read(member), np.uint8).copy())
            for dtype in FLOATS:
                if member.file_size % dtype.itemsize == 0 and member.file_size // dtype.itemsize in sizes:
                    yield f"{member.filename} as {dtype}", stored.view(dtype)


def _array(name: str, stream: IO[bytes], sizes: set[int]) -> Iterator[tuple[str, Tensor]]:
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return
    if array.size in sizes and array.dtype.kind in "fiu":
        yield name, torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
