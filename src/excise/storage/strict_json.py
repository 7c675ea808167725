"""Strict JSON: its values, and files that are the same to the byte for the same values."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import numpy as np

from excise.storage.display import few, printable, shortened

# Levels of lists and objects within each other that are read; what excise writes has a tenth of them.
DEPTH = 100
NUMBERS: dict[Any, Any] = {int: Integral, float: Real, None: NoneType}


def json_values(value: Any) -> Any:
    """A value as JSON values: NaN and infinity are null, which JSON has no numbers for; tuples are lists.

    Raises:
        ValueError: if it holds something that JSON cannot say, such as a tensor, or half of a surrogate pair.

    Example:
        >>> json_values({"loss": float("nan"), "codes": (1, 2)})
        {'loss': None, 'codes': [1, 2]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {json_values(str(key)): json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{value!r} cannot be written as UTF-8: it has half of a surrogate pair.") from error
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"A {type(value).__name__} is no value of JSON; give numbers, strings, lists and dicts of them.")


def written(state: Mapping[str, Any]) -> str:
    """A state as JSON text: a line for each key, and for each entry of a list, so that differences can be read.

    Example:
        >>> print(written({"version": 1, "rows": [{"id": 1}, {"id": 2}]}))
        {
        "version": 1,
        "rows": [
          {"id": 1},
          {"id": 2}
        ]
        }
    """
    lines = [f"{_one_line(key)}: {_entries(value)}" for key, value in state.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def read(path: str | os.PathLike) -> Any:
    """The value in a file of strict JSON.

    Raises:
        ValueError: if the file is no JSON, holds NaN or infinity, or is nested too deeply.
    """
    return parsed(Path(path).read_bytes(), os.fspath(path))


def parsed(text: str | bytes, source: str) -> Any:
    """The value of strict JSON; errors as `read`, in which `source` is what it is of."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if not _is_nested_less(value, DEPTH):
            raise RecursionError
    except RecursionError:
        raise ValueError(f"{source!r} is no JSON that excise reads: it is nested deeper than {DEPTH} levels.") from None
    except ValueError as error:  # of JSON or of its encoding
        raise ValueError(f"{source!r} is no strict JSON: {printable(str(error))}.") from error
    return value


def checked(value: Any, kind: Any, where: str) -> Any:
    """A value of JSON, after making sure that it is of a kind.

    Args:
        value: what a file holds.
        kind: a type hint: `str`, `int`, `float`, `bool`, `None`, `Any`, or mappings, lists, tuples and unions of these.
        where: what the value is, for the message.

    Raises:
        ValueError: if it is of another kind. The message tells where, and shows nothing of the value.

    Example:
        >>> checked({"a": [1, 2]}, dict[str, list[int]], "codes")
        {'a': [1, 2]}
    """
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Any:
        return value
    if origin in (Union, UnionType):
        if any(_is_of(value, option) for option in inner):
            return value
    elif origin in (dict, Mapping):
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            for key, item in value.items():
                checked(item, inner[1] if inner else Any, f"{where}.{printable(shortened(key))}")
            return value
    elif origin in (list, tuple, Sequence):
        if isinstance(value, list | tuple):
            one_kind = origin is not tuple or not inner or inner[-1] is ...
            if one_kind and inner and all(type(item) is inner[0] for item in value):
                return value  # of many numbers, the quicker way
            kinds = [*(inner[:1] or [Any])] * len(value) if one_kind else inner
            if len(kinds) == len(value):
                for number, (item, of_item) in enumerate(zip(value, kinds, strict=True)):
                    checked(item, of_item, f"{where}[{number}]")
                return value
    elif isinstance(value, NUMBERS.get(origin, origin)) and isinstance(value, bool) == (origin is bool):
        return value
    name = kind if inner else getattr(kind, "__name__", kind)
    raise ValueError(f"{where} is of the wrong type: expected {name}, got a {type(value).__name__}.")


def checked_fields(state: Any, kind: type) -> dict[str, Any]:
    """A value of JSON, after making sure that it has the fields of a dataclass, each of its kind.

    Raises:
        ValueError: if it lacks one that has no default, has another, or one of another kind.
    """
    checked(state, dict, "it")
    hints, known = _type_hints(kind), {field.name: field for field in fields(kind)}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    for what, names in (("lacks", needed - state.keys()), ("has", state.keys() - known.keys())):
        if names:
            raise ValueError(f"It {what} {printable(few(sorted(names)))}, unlike a {kind.__name__}.")
    for name, value in state.items():
        checked(value, hints[name], name)
    return state


_type_hints = cache(get_type_hints)


def _is_of(value: Any, kind: Any) -> bool:
    try:
        checked(value, kind, "")
    except ValueError:
        return False
    return True


def _is_nested_less(value: Any, depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        inside = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inside if isinstance(item, dict | list)]
    return not level


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON has no number for")


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError("it holds a number that is too large")
    return number


def _entries(value: Any) -> str:
    if not (isinstance(value, list) and value):
        return _one_line(value)
    return "[\n" + ",\n".join(f"  {_one_line(item)}" for item in value) + "\n]"


def _one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
