"""The numbers in torch files from before they were zip archives, when one holds more than weights."""

import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def old_storages(path: Path, sizes: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Names and numbers of the storages in a torch file of the old form, those of one of some sizes.

    Nothing of what the file names is looked up or called. Of a file that is none, or broken, what came before that.
    """
    # Pickles of a magic number, a version, facts of the machine, the content and its storages' names, in the order in
    # which the storages follow: the number of elements, then the elements.
    try:
        with open(path, "rb") as stream:
            for _ in range(3):
                _Inert(stream).load()
            content = _Inert(stream)
            content.load()
            for key in _Inert(stream).load():
                dtype = content.storages[key]
                (size,) = struct.unpack("<q", stream.read(8))
                data = stream.read(size * dtype.itemsize)
                if size in sizes:
                    yield f"storage {key}", torch.frombuffer(bytearray(data), dtype=dtype)
    except Exception:  # a pickle can fail in any way; what is no such file holds no storages
        return


class _Thing:
    """What stands for anything that a pickle names: it takes all and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "_Thing":
        return self

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Inert(pickle.Unpickler):
    """Reads a pickle without anything that it names; `storages` are the types of number that it tells of."""

    def __init__(self, stream: BinaryIO):
        super().__init__(stream)
        self.storages: dict[str, torch.dtype] = {}

    def find_class(self, module: str, name: str) -> type:
        return type(name, (_Thing,), {})

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key = pid[:3]
        if kind == "storage":
            self.storages[key] = DTYPES[storage.__name__]
        return _Thing()
