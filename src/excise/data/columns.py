"""Text columns of a data set, as plain lists or as Arrow holds them."""

import re
import warnings
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow
import pyarrow.compute as pc
from datasets import Dataset

from excise.data.paths import near_names
from excise.data.reading import as_rows, refuse_stream

STACK = 3


class TextColumn(NamedTuple):
    """Where a text stands in the rows of a data set.

    Args:
        name: what it was asked for by.
        column: the column.
        key: of a dictionary column, the key; of a translation column, the language.
        by_language: whether the column's rows list their languages, each with its text.
    """

    name: str
    column: str
    key: str | None = None
    by_language: bool = False


def read_column(dataset: Any, name: str) -> list:
    """The values of one text column, or of one language inside a translation column.

    Args:
        dataset: any `datasets.Dataset`, or what `load_rows` makes one of.
        name: a column, or a key of a dictionary column: ``"en"`` reads ``row["translation"]["en"]``, and so does
            ``"translation.en"``.

    Returns:
        One value per row, in order; rows without a value give None. Of several texts in a row, the first that is there.

    Raises:
        ValueError: the data set is not a `Dataset`, nothing in it has this name, or what has is no text.

    >>> read_column(Dataset.from_dict({"translation": [{"en": "Hi.", "fr": "Salut."}]}), "fr")
    ['Salut.']
    """
    return arrow_column(dataset, name).to_pylist()


def arrow_column(dataset: Any, name: str) -> pyarrow.ChunkedArray:
    """The same as `read_column`, still in Arrow: of a data set on disk, nothing is read yet."""
    refuse_stream(dataset)
    dataset = as_rows(dataset)
    place = find_column(dataset, name)
    return texts_at(_whole_column(dataset, place.column), place)


def text_pairs(dataset: Any, source: str, target: str) -> Dataset:
    """The rows of a data set that have a text in both of two columns, as `source` and `target`.

    Args:
        dataset: any `datasets.Dataset`, or what `load_rows` makes one of.
        source: a column, or a key of a dictionary column, as in `read_column`.
        target: likewise.

    Raises:
        ValueError: as in `read_column`, or no row has both.

    >>> rows = [{"en": "Hi.", "fr": "Salut."}, {"en": "Go.", "fr": None}]
    >>> text_pairs(rows, "en", "fr")[:]
    {'source': ['Hi.'], 'target': ['Salut.']}
    """
    dataset = as_rows(dataset)
    table = pyarrow.table({"source": arrow_column(dataset, source), "target": arrow_column(dataset, target)})
    there = pc.and_(has_text(table["source"]), has_text(table["target"]))
    rows = table.filter(there)
    if not len(rows):
        raise ValueError(f"None of the {len(table)} rows has a text in both {source!r} and {target!r}.")
    return Dataset(rows)


def has_text(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Which values are texts with more than space in them, as booleans of Arrow."""
    return pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0), False)


def model_texts(dataset: Dataset, text: str) -> list[str | None]:
    """The texts of rows that are to be tokenised.

    Raises:
        ValueError: if there is no such column; the message lists those there are.
    """
    try:
        return read_column(dataset, text)
    except ValueError as error:
        raise ValueError(f"The data set has no `input_ids`; its columns are {dataset.column_names}. {error}") from error


def with_texts(dataset: Dataset, text: str, required: bool = True) -> Dataset:
    """The rows of a data set that have a text, where they are not tokenised yet.

    Raises:
        ValueError: if there is no such column, or none of its rows has a text and one is required.
    """
    if {"input_ids", "encodings"}.intersection(dataset.column_names) or not len(dataset):
        return dataset
    rows = [row for row, value in enumerate(model_texts(dataset, text)) if value and value.strip()]
    if required and not rows:
        raise ValueError(f"None of {len(dataset)} rows has a text in {text!r}. Name the column of the texts.")
    return dataset if len(rows) == len(dataset) else dataset.select(rows)


def find_column(dataset: Dataset, name: str) -> TextColumn:
    """Where the texts of a name stand: a column, or a key of the only dictionary column that has it.

    Raises:
        ValueError: if they stand nowhere, or in several columns; the message lists what is there.
    """
    keys = {column: _keys(dataset, column) for column in dataset.column_names}
    if name in keys and not keys[name]:
        return TextColumn(name, name)
    holders = [column for column, inner in keys.items() if name in inner]
    if not holders and (parts := re.fullmatch(r"(.+?)(?:\.(.+)|\[(.+)\])", name)):
        column, key = parts[1], parts[2] or parts[3]
        if key in keys.get(column, ()):
            return TextColumn(name, column, key, _by_language(dataset.features[column]))
    if len(holders) == 1:
        return TextColumn(name, holders[0], name, _by_language(dataset.features[holders[0]]))
    if holders:
        raise ValueError(f"{name!r} is a key of several columns, {holders}; keep one of them with select_columns.")
    flat = [column for column in keys if column.endswith(f".{name}")]  # as `flatten` names them
    if len(flat) == 1:
        return TextColumn(name, flat[0])
    there = [f"{column}[{key}]" for column, inner in keys.items() for key in inner]
    there += [column for column, inner in keys.items() if not inner]
    near = near_names(name, [*(key for inner in keys.values() for key in inner), *keys])
    listed = ", ".join(sorted(there)) or "no columns"
    if near:
        meant = " or ".join(map(repr, near))
        raise ValueError(f"There is no text column {name!r}; this data set has: {listed}. Did you mean {meant}?")
    raise ValueError(f"There is no text column {name!r}; this data set has: {listed}.")


def texts_at(values: pyarrow.ChunkedArray, place: TextColumn) -> pyarrow.ChunkedArray:
    """The texts in the values of a column, None where there is none.

    Raises:
        ValueError: if they are no texts.
    """
    total = len(values)
    if place.by_language:
        values = _of_language(values, cast(str, place.key))
    elif place.key is not None:
        values = pc.struct_field(values, [place.key])
    kind = values.type
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
        rows = values.to_pylist()
        filled = [[text for text in row or () if text is not None and text != ""] for row in rows]
        several = sum(len(row) > 1 for row in filled)
        if several:
            warnings.warn(
                f"{place.name!r} has several texts in {several} of {total} rows. The first of each is used.",
                stacklevel=STACK,
            )
        values = pyarrow.chunked_array([pyarrow.array([row[0] if row else None for row in filled], kind.value_type)])
        kind = values.type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return values
    if values.null_count == total or (pyarrow.types.is_floating(kind) and pc.all(pc.is_nan(values)).as_py()):
        return pyarrow.chunked_array([pyarrow.nulls(total, pyarrow.string())])
    if (
        pyarrow.types.is_binary(kind)
        or pyarrow.types.is_large_binary(kind)
        or str(kind) in ("string_view", "binary_view")
    ):
        try:
            return values.cast(pyarrow.large_string())
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{place.name!r} holds bytes that are no text in UTF-8. Decode them first.") from error
    raise ValueError(
        f"None of the {total} rows has a text in {place.name!r}, whose values are {_shown(values)}. Name a column of "
        "texts, or make texts of them, as by `dataset.cast_column(name, datasets.Value('string'))`."
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


def _shown(values: pyarrow.ChunkedArray) -> str:
    """What values are that are no texts."""
    if isinstance(values.type, pyarrow.BaseExtensionType):
        return "of several kinds, numbers or lists beside texts"
    first = next((value for value in values.slice(0, 100).to_pylist() if value is not None), None)
    return f"of type {values.type}, as {str(first)[:40]}"


def _by_language(feature: Any) -> bool:
    """Whether a feature's rows list their languages: `TranslationVariableLanguages`, or the same without its name."""
    named = type(feature).__name__ == "TranslationVariableLanguages"
    return named or (isinstance(feature, dict) and set(feature) == {"language", "translation"})


def _keys(dataset: Dataset, column: str) -> tuple[str, ...]:
    feature = dataset.features[column]
    if _by_language(feature):
        languages = getattr(feature, "languages", None)
        if languages:
            return tuple(languages)
        rows = dataset.select_columns([column]).with_format(None)
        return tuple(sorted({language for row in rows for language in (row[column] or {}).get("language") or ()}))
    if isinstance(feature, dict):
        return tuple(feature)
    return tuple(getattr(feature, "languages", None) or ())


def _of_language(values: pyarrow.ChunkedArray, language: str) -> pyarrow.ChunkedArray:
    texts = [
        [text for key, text in zip(row["language"] or (), row["translation"] or (), strict=True) if key == language]
        for row in (row or {"language": (), "translation": ()} for row in values.to_pylist())
    ]
    return pyarrow.chunked_array([pyarrow.array(texts, pyarrow.list_(pyarrow.string()))])


def _whole_column(dataset: Dataset, name: str) -> pyarrow.ChunkedArray:
    return dataset.select_columns([name]).with_format("arrow")[:].column(name)
