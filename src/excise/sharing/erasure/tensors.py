"""Tensors in a file that could hold something of codes, whatever the file is called.

Files are read as their formats say, by plain reads of no more bytes than the model has itself: no file is mapped, what
it asks for is not allocated, and of a pickle nothing is run.
"""

import io
import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from excise.sharing.erasure.pickles import MOST_LETTERS, Pickle, TooLongError, counts
from excise.sharing.erasure.streams import Note, Stream, TooMuchError

HEADER = 1 << 23  # bytes of the longest header of a safetensors file that is read; it has about 100 for a tensor
PIECE = 1 << 24  # bytes of a tensor that are read at a time
PICKLE = 1 << 26  # bytes of the longest pickle that is read
LEAST = 1 << 13  # bytes that a tensor counts for at least
SPARSE = 16  # times the bytes of a tensor that may be read for it, where it is spread
ARRAY = b"\x93NUMPY"
# What a torch file from before version 1.6 starts with: the pickle of torch's magic number.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
WEIGHTS, OF_WEIGHTS = "torch.", ("collections.OrderedDict", "torch", "_codecs.encode")
FLOATS = ("float32", "bfloat16", "float16", "float64")
SAFETENSORS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool"}
SAFETENSORS |= {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "C64": "complex64"}
SAFETENSORS |= {
    f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}
NUMPY = {
    f"{kind}{size}": f"{name}{8 * size}"
    for kind, name in (("f", "float"), ("i", "int"), ("u", "uint"))
    for size in (1, 2, 4, 8)
}
# Nothing of codes, as far as is known: texts, dates, bits, complex numbers.
NOT_READ = "SUmMbc?a"


def tensors(stream: Stream, sizes: set[int], note: Note) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a safetensors, torch or NumPy file, those with one of some numbers of elements.

    Where a file ends too early, what is missing of a tensor is zero. Of any other file, nothing.

    Args:
        stream: the file, or what is packed in another.
        sizes: the numbers.
        note: called with what cannot be read, and why.
    """
    reader = _Reader(stream, sizes, note)
    if stream.members:
        yield from _torch(reader, list(stream.members))
        return
    start = reader.bytes(0, 16)
    if start.startswith(ARRAY):
        yield from _array(reader)
    elif start[8:9] == b"{" or (stream.name.endswith(".safetensors") and reader.size):
        yield from _safetensors(reader, stream.name.endswith(".safetensors"))
    elif stream.start == 0 and start.startswith(OLD_TORCH[:14]):
        yield from _old_torch(reader)
    elif stream.start == 0 and start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5":
        try:
            list(Pickle.read(io.BytesIO(reader.bytes(0, PICKLE))).tensors())
        except TooLongError:  # it holds no tensors of torch's, and its bytes are searched anyway
            return
    elif stream.start == 0 and re.search(r"/data/\d+$", stream.name):  # a storage of a torch file that was packed again
        for name in FLOATS:
            dtype = getattr(torch, name)
            if reader.size % dtype.itemsize == 0 and reader.size // dtype.itemsize in sizes:
                yield f"the storage as {name}", reader.tensor(0, dtype, (reader.size // dtype.itemsize,))


class _Reader:
    """The bytes of a stream, and tensors among them.

    Args:
        stream: what is read.
        sizes: numbers of elements of tensors that are looked at.
        note: called with what cannot be read.
    """

    def __init__(self, stream: Stream, sizes: set[int], note: Note):
        self.file, self.start, self.allowance = stream.content, stream.start, stream.allowance
        self.sizes, self._note, self.name = sizes, note, stream.name
        self.size = self.file.seek(0, io.SEEK_END) - self.start

    def note(self, why: str) -> None:
        self._note(self.name, why)

    def bytes(self, at: int, size: int) -> bytes:
        if at >= self.size:
            return b""
        self.file.seek(self.start + at)
        return self.file.read(min(size, self.size - at))

    def tensor(self, at: int, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...] = ()) -> Tensor:
        """A tensor whose first element is somewhere; with zeros in place of what is behind the end."""
        reach = math.prod(shape)
        if strides:
            reach = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        size = dtype.itemsize * reach
        self.allowance.spend(max(size, LEAST))
        data, filled = bytearray(size), 0
        while piece := self.bytes(at + filled, min(PIECE, size - filled)):  # a whole one at once would be there twice
            data[filled : filled + len(piece)] = piece
            filled += len(piece)
        if filled < size:
            self.note("It ends in the middle of a tensor.")
        flat = torch.frombuffer(data, dtype=dtype)
        return flat.as_strided(shape, strides) if strides else flat.reshape(shape)


class _Pairs(list):
    """A JSON object as pairs: the same name may be in it twice."""


def _safetensors(reader: _Reader, is_called_so: bool) -> Iterator[tuple[str, Tensor]]:
    length = int.from_bytes(reader.bytes(0, 8), "little")
    if not (is_called_so or b'"dtype"' in reader.bytes(8, 1 << 12)):
        return
    if length > min(HEADER, reader.size - 8):
        reader.note(
            f"Its header has {length:,} bytes by its own account, of {reader.size:,}; {HEADER:,} are read at most."
        )
        return
    header = json.loads(reader.bytes(8, length), object_pairs_hook=_Pairs)
    places = []
    for name, about in header:
        if name == "__metadata__":
            continue
        try:
            about = dict(about)
            dtype, shape = getattr(torch, SAFETENSORS.get(about["dtype"], ""), None), counts(about["shape"])
            begin, end = counts(about["data_offsets"])
        except (TypeError, KeyError, ValueError) as error:
            reader.note(f"Its tensor {name[:MOST_LETTERS]!r} is described wrongly ({type(error).__name__}).")
            continue
        places.append((begin, end))
        if math.prod(shape) in reader.sizes:
            if dtype is None or end - begin != dtype.itemsize * math.prod(shape):
                reader.note(f"Its tensor {name[:MOST_LETTERS]!r} is of a type or size that is not read.")
            else:
                yield name[:MOST_LETTERS], reader.tensor(8 + length + begin, dtype, shape)
    places.sort()
    if any(after[0] < before[1] for before, after in pairwise(places)):
        reader.note("Its tensors lie over one another.")
    if places and places[-1][1] != reader.size - 8 - length:
        reader.note("It does not end where its tensors do.")


def _array(reader: _Reader) -> Iterator[tuple[str, Tensor]]:
    width = 2 if reader.bytes(6, 1) == b"\1" else 4
    length = int.from_bytes(reader.bytes(8, width), "little")
    header = reader.bytes(8 + width, min(length, 10_000)).decode("latin1")
    kind = re.search(r"""['"]descr['"]: *['"]([<>|=]?)([A-Za-z?])(\d*)""", header)
    shape = re.search(r"""['"]shape['"]: *\(([\d, ]*)\)""", header)
    if kind is None or shape is None:
        reader.note("Its header is none of an array of numbers.")
        return
    order, letter, size = kind.groups()
    dims = counts([int(number) for number in re.findall(r"\d+", shape[1])])
    if letter in NOT_READ:
        return
    dtype = getattr(torch, NUMPY.get(letter + size, ""), None)
    if dtype is None:
        reader.note(f"It is an array of {letter + size}, which is not read.")
        return
    needed = dtype.itemsize * math.prod(dims)
    if needed > reader.size - 8 - width - length:
        reader.note(f"It asks for {needed:,} bytes and has {reader.size:,}.")
    if math.prod(dims) in reader.sizes:
        is_fortran = re.search(r"""['"]fortran_order['"]: *True""", header) is not None
        flat = reader.tensor(8 + width + length, dtype, (math.prod(dims),)).numpy()
        if order == ">":
            flat = flat.byteswap()
        yield "array", torch.from_numpy(flat.reshape(dims, order="F" if is_fortran else "C").copy())


def _torch(reader: _Reader, members: list[tuple[str, int]]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of every torch file in an archive: of one itself, as a rule."""
    for i, (name, start) in enumerate(members):
        if not name.endswith("data.pkl"):
            continue
        reader.allowance.spend(64 * len(members))
        end = members[i + 1][1] if i + 1 < len(members) else reader.size
        try:
            pickle = Pickle.read(io.BytesIO(reader.bytes(start, min(end - start, PICKLE))))
            folder = name.removesuffix("data.pkl") + "data/"
            own = members[: next((j for j in range(i + 1, len(members)) if members[j][0] == name), None)]
            records = {key.removeprefix(folder): place for key, place in own if key.startswith(folder)}
            yield from _pickled(reader, pickle, records)
            if unknown := records.keys() - pickle.storages.keys():
                reader.note(f"Its pickle does not speak of its record {min(unknown)[:MOST_LETTERS]!r}.")
        except TooMuchError:
            raise
        except Exception as error:
            reader.note(f"Its pickle cannot be read. {error}")


def _old_torch(reader: _Reader) -> Iterator[tuple[str, Tensor]]:
    stream = io.BytesIO(reader.bytes(0, PICKLE))
    for _ in range(3):  # a magic number, a version, and the machine's sizes
        Pickle.read(stream)
    pickle = Pickle.read(stream)
    if any(not name.startswith(WEIGHTS) and name not in OF_WEIGHTS for name in pickle.names):
        reader.note(
            "It is a torch file from before version 1.6 with more than weights in it, which is not read. Save it again "
            "with torch.save, or remove it."
        )
        return
    keys, at, records = Pickle.read(stream).content, stream.tell(), {}
    for key in keys:
        records[key], count = at + 8, int.from_bytes(reader.bytes(at, 8), "little")
        if count != pickle.storages[key].count:
            reader.note(f"Its storage {key!r} is not as long as it should be.")
        at += 8 + pickle.storages[key].dtype.itemsize * pickle.storages[key].count
    yield from _pickled(reader, pickle, records)


def _pickled(reader: _Reader, pickle: Pickle, records: dict[str, int]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in pickle.tensors():
        if math.prod(tensor.shape) not in reader.sizes or not math.prod(tensor.shape):
            continue
        reach = 1 + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True))
        if tensor.storage.key not in records:
            reader.note(f"Its tensor {name!r} is in a record that is not there.")
        elif tensor.offset + reach > tensor.storage.count or reach > SPARSE * math.prod(tensor.shape):
            reader.note(f"Its tensor {name!r} is not inside its storage, or spread too far in it.")
        else:
            at = records[tensor.storage.key] + tensor.dtype.itemsize * tensor.offset
            yield name, reader.tensor(at, tensor.dtype, tensor.shape, tensor.strides)
