"""Text columns of a data set, as plain lists or as Arrow holds them."""

from typing import Any

import numpy as np
import pyarrow
from datasets import Dataset
from pyarrow.compute import struct_field

from excise.data.reading import refuse_stream


def read_column(dataset: Dataset, name: str) -> list:
    """The values of one text column, or of one language inside a translation column.

    Args:
        dataset: any `datasets.Dataset`.
        name: a column, or a key of a dictionary column: ``"en"`` reads ``row["translation"]["en"]``.

    Returns:
        One value per row, in order; rows without a value give None.

    Raises:
        ValueError: the data set is not a `Dataset`, or nothing in it has this name.

    >>> read_column(Dataset.from_dict({"translation": [{"en": "Hi.", "fr": "Salut."}]}), "fr")
    ['Salut.']
    """
    return arrow_column(dataset, name).to_pylist()


def arrow_column(dataset: Dataset, name: str) -> pyarrow.ChunkedArray:
    """The same as `read_column`, still in Arrow: of a data set on disk, nothing is read yet."""
    refuse_stream(dataset)
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"Expected a datasets.Dataset, got {type(dataset).__name__}; pick one split of a DatasetDict, "
            "and turn lists into one with Dataset.from_list."
        )
    keys = {column: _dictionary_keys(feature) for column, feature in dataset.features.items()}
    if name in keys and not keys[name]:
        return _whole_column(dataset, name)
    holders = [column for column, inner in keys.items() if name in inner]
    if len(holders) == 1:
        return struct_field(_whole_column(dataset, holders[0]), name)
    if holders:
        raise ValueError(f"{name!r} is a key of several columns, {holders}; keep one of them with select_columns.")
    there = [f"{column}[{key}]" for column, inner in keys.items() for key in inner]
    there += [column for column, inner in keys.items() if not inner]
    raise ValueError(
        f"There is no text column {name!r}; this data set has: {', '.join(sorted(there)) or 'no columns'}."
    )


def values_at(column: pyarrow.ChunkedArray, rows: np.ndarray) -> list:
    """The values of some rows of a column, in the order of the rows.

    Chunk by chunk: `ChunkedArray.take` copies the whole column first, and gives up where it is larger than 2 GB.

    >>> values_at(pyarrow.chunked_array([["a", "b"], [], ["c"]]), np.array([2, 0, 2]))
    ['c', 'a', 'c']
    """
    starts = np.cumsum([0, *map(len, column.chunks)])
    chunk = np.searchsorted(starts, rows, side="right") - 1
    order = np.argsort(chunk, kind="stable")
    values = np.empty(len(rows), dtype=object)
    for here in np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1) if len(rows) else ():
        number = int(chunk[here[0]])
        values[here] = column.chunk(number).take(pyarrow.array(rows[here] - starts[number])).to_pylist()
    return values.tolist()


def _dictionary_keys(feature: Any) -> tuple[str, ...]:
    if isinstance(feature, dict):
        return tuple(feature)
    return tuple(getattr(feature, "languages", None) or ())


def _whole_column(dataset: Dataset, name: str) -> pyarrow.ChunkedArray:
    return dataset.select_columns([name]).with_format("arrow")[:].column(name)
