"""Pickles, read without making or running anything that they name."""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch

STEPS = 1 << 20  # of the longest pickle that is read
DEEPEST, MOST_LETTERS = 100, 200
LARGEST, MOST_DIMS = 1 << 62, 64
DICTS = ("collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict")
STORAGES = {"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64"}
STORAGES |= {"Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Untyped": "uint8", "Bool": "bool"}
STORAGES |= {"ComplexFloat": "complex64", "ComplexDouble": "complex128"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NOT_THERE = ("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")


class TooLongError(ValueError):
    """A pickle of more steps than are taken."""


class _Name(str):
    """What a pickle takes from a module."""


class _Pairs(list):
    """Keys and values of a dict. Nothing is computed of keys, as that alone can take for ever."""


@dataclass
class _Call:
    """What a pickle would call, and everything that it would hand to it."""

    name: Any
    parts: list


@dataclass(frozen=True)
class Storage:
    """Numbers that are beside a pickle: their key, type, and how many there are; of a view, the first of them."""

    key: str
    dtype: torch.dtype
    count: int
    first: int = 0


@dataclass(frozen=True)
class PickledTensor:
    """Where a tensor is in a storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class Pickle:
    """What a pickle holds.

    Args:
        content: lists, tuples, numbers, texts, tensors, and what stands for all else.
        names: of what it would call or use.
        storages: that it speaks of, by key.
    """

    content: Any = None
    names: set[str] = field(default_factory=set)
    storages: dict[str, Storage] = field(default_factory=dict)

    @classmethod
    def read(cls, stream: BinaryIO) -> "Pickle":
        """The next pickle of a stream.

        Raises:
            TooLongError: if it has too many steps.
            Exception: of many kinds, if it is broken.
        """
        pickle, stack = cls(), _Stack()
        for number, (step, value, _) in enumerate(pickletools.genops(stream)):
            if number == STEPS:
                raise TooLongError(f"It has more than {STEPS:,} steps.")
            if step.name == "STOP":
                (pickle.content,) = stack.last(1)
                return pickle
            if not (stack.moves(step.name, value) or stack.gathers(step.name)):
                stack.append(pickle._made(step.name, value, stack))
        raise ValueError("It has no end.")

    def _made(self, step: str, value: Any, stack: "_Stack") -> Any:
        if step in CONSTANTS:
            return CONSTANTS[step]
        if step in NOT_THERE:
            raise ValueError(f"Its step {step} asks for what is not in it.")
        if step == "STACK_GLOBAL":
            return self._named(".".join(stack.last(2)))
        if step == "GLOBAL":
            return self._named(value.replace(" ", ".", 1))
        if step == "INST":
            return self._called(self._named(value.replace(" ", ".", 1)), stack.marked())
        if step == "OBJ":
            function, *values = stack.marked()
            return self._called(function, values)
        if step in ("REDUCE", "NEWOBJ"):
            return self._called(*stack.last(2))
        if step == "NEWOBJ_EX":
            function, *values = stack.last(3)
            return self._called(function, values)
        if step in ("PERSID", "BINPERSID"):
            return self._stored(stack.last(1)[0] if step == "BINPERSID" else value)
        return value  # a number or a text

    def _named(self, name: str) -> _Name:
        self.names.add(name)
        return _Name(name)

    def _called(self, function: Any, values: Any) -> Any:
        values = list(values) if isinstance(values, list | tuple) else [values]
        name = str(function) if isinstance(function, _Name) else ""
        if name in DICTS:
            items = [item for part in values if isinstance(part, list) for item in part]
            return _Pairs(item for item in items if isinstance(item, list | tuple) and len(item) == 2)
        if name.startswith("torch._utils._rebuild_parameter") and values:
            return values[0]
        if name == "torch._tensor._rebuild_from_type_v2" and len(values) == 4:
            return _Call(_Name(name), [self._called(values[0], values[2]), values[3]])
        if name.startswith("torch._utils._rebuild_tensor") and isinstance(values[0], Storage):
            storage, offset, shape, strides = values[:4]
            (first,) = counts([offset])
            dtype = getattr(torch, values[6].removeprefix("torch.")) if name.endswith("_v3") else storage.dtype
            return PickledTensor(storage, dtype, first + storage.first, counts(shape), counts(strides))
        return _Call(function, values)

    def _stored(self, about: Any) -> Any:
        match about:
            case ("storage", _Name() as kind, str() as key, _, int() as count, *view):
                name = kind.rpartition(".")[2].removesuffix("Storage")
                storage = Storage(key[:MOST_LETTERS], getattr(torch, STORAGES[name]), *counts([count]))
                self.storages.setdefault(storage.key, storage)
                if view and view[0] is not None:
                    return Storage(storage.key, storage.dtype, storage.count, *counts([view[0][1]]))
                return storage
        return _Call(None, [about])

    def tensors(self) -> Iterator[tuple[str, PickledTensor]]:
        """Every tensor in it, by the keys and numbers that lead there.

        Raises:
            ValueError: if something holds itself, or very much in one another.
        """
        return _tensors(self.content, "", (), set())


class _Stack(list):
    """What the steps of a pickle have put down."""

    def __init__(self):
        super().__init__()
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def last(self, count: int) -> list:
        """Takes the last items off."""
        return self._from(len(self) - count)

    def marked(self) -> list:
        """Takes the items since the last mark off."""
        return self._from(self.marks.pop())

    def _from(self, place: int) -> list:
        if not 0 <= place <= len(self):
            raise ValueError("It takes what it has not put there.")
        items = self[place:]
        del self[place:]
        return items

    def moves(self, step: str, value: Any) -> bool:
        """Does one of the steps that mark, repeat, remember or take away; False if it is none."""
        if step == "MARK":
            self.marks.append(len(self))
        elif step in ("GET", "BINGET", "LONG_BINGET"):
            self.append(self.memo[value])
        elif step in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if value is None else value] = self[-1]
        elif step == "POP" and not (self.marks and self.marks[-1] == len(self)):
            self.pop()
        elif step in ("POP", "POP_MARK"):
            self.marked()
        elif step == "DUP":
            self.append(self[-1])
        return step in ("MARK", "POP", "POP_MARK", "DUP", "PROTO", "FRAME", "MEMOIZE") or step.endswith(("GET", "PUT"))

    def gathers(self, step: str) -> bool:
        """Does one of the steps that make lists, tuples and dicts, or fill them; False if it is none."""
        if step in ("EMPTY_LIST", "EMPTY_SET", "EMPTY_DICT"):
            self.append(_Pairs() if step == "EMPTY_DICT" else [])
        elif step in ("LIST", "FROZENSET", "TUPLE", "DICT"):
            items = self.marked()
            self.append(tuple(items) if step == "TUPLE" else _pairs(items) if step == "DICT" else items)
        elif step in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self.append(tuple(self.last(int(step[-1]))))
        elif step in ("APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS", "BUILD"):
            items = self.marked() if step.endswith("S") else self.last(2 if step == "SETITEM" else 1)
            if step.startswith("SETITEM"):
                items = _pairs(items)
            target = self[-1].parts if isinstance(self[-1], _Call) else self[-1]
            if isinstance(target, list) and (step != "BUILD" or target is not self[-1]):
                target.extend(items)
            elif step != "BUILD":
                raise ValueError("It puts something into what holds nothing.")
        else:
            return False
        return True


def _pairs(items: list) -> _Pairs:
    return _Pairs(zip(items[::2], items[1::2], strict=True))


def _tensors(content: Any, name: str, inside: tuple[int, ...], seen: set[int]) -> Iterator[tuple[str, PickledTensor]]:
    if isinstance(content, Storage):  # of something that is not known
        content = PickledTensor(content, content.dtype, content.first, (content.count,), (1,))
    if isinstance(content, PickledTensor):
        yield name, content
    parts = content.parts if isinstance(content, _Call) else content
    if not isinstance(parts, list | tuple):
        return
    if id(content) in inside and not isinstance(content, _Call):
        raise ValueError("Something in it holds itself.")
    if len(inside) > DEEPEST:
        raise ValueError(f"It holds more than {DEEPEST} things in one another.")
    if id(content) in seen:
        return
    seen.add(id(content))
    for key, value in parts if isinstance(parts, _Pairs) else enumerate(parts):
        step = str(key)[:MOST_LETTERS] if isinstance(key, str | int) else "?"
        yield from _tensors(value, f"{name}.{step}" if name else step, (*inside, id(content)), seen)


def counts(numbers: Any) -> tuple[int, ...]:
    """Some whole numbers that are not negative, nor more or larger than there can be.

    Raises:
        ValueError: if they are anything else.
    """
    if not isinstance(numbers, list | tuple) or len(numbers) > MOST_DIMS:
        raise ValueError("It says how large something is by no numbers.")
    if not all(type(number) is int and 0 <= number < LARGEST for number in numbers):
        raise ValueError("It says how large something is by a number that is none.")
    return tuple(numbers)
