"""Strict JSON: its values, and files that are the same to the byte for the same values."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


def strict(value: Any) -> Any:
    """A value as JSON values: NaN and infinity are null, which JSON has no numbers for; tuples are lists.

    Raises:
        ValueError: if it holds something that JSON cannot say, such as a tensor, or half of a surrogate pair.

    Example:
        >>> strict({"loss": float("nan"), "codes": (1, 2)})
        {'loss': None, 'codes': [1, 2]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {strict(str(key)): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
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
        ValueError: if the file is no JSON, or holds NaN or infinity.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"it holds {name}, which JSON has no number for")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except ValueError as error:  # of JSON or of its encoding
        raise ValueError(f"{os.fspath(path)!r} is no strict JSON: {error}.") from error


def _entries(value: Any) -> str:
    if not (isinstance(value, list) and value):
        return _one_line(value)
    return "[\n" + ",\n".join(f"  {_one_line(item)}" for item in value) + "\n]"


def _one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
