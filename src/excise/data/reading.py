"""Data sets by name: files, folders, Hub ids, and the sentence pairs that excise carries."""

import os
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.data.data_files import first_cause, read_file
from excise.data.folders import read_folder
from excise.data.paths import existing_path, is_hub_id, is_local, near_entries, not_there, why_not_on_hub
from excise.data.text_encodings import known_encoding

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

# The sentence pairs that excise carries.
DEMO = "excise:demo"


def load_rows(data: Any, config: str | None = None, split: str = "train", *, encoding: str | None = None) -> "Dataset":
    """One split of a data set.

    Args:
        data: the path of a file, of a folder of files or of one that `save_to_disk` wrote; a Hub id; `excise:demo`; or
            rows in memory: a data set, one with splits, a DataFrame, a list of rows or a dictionary of columns. Files
            may be Parquet, CSV (separated by commas, semicolons or tabs), JSON, JSON lines, Arrow or plain text. What
            is there as a path is never asked of the Hub, and nothing in its name is a pattern.
        config: the data set's configuration.
        split: the split, as `datasets` writes it (`"train[:10%]"`); a file is one split whatever its name.
        encoding: of text files, if they are neither UTF-8 nor have a byte order mark; of others it says nothing.

    Raises:
        ValueError: if there is no such file, split or encoding, or it cannot be read.

    Example:
        >>> load_rows("excise:demo", split="test").column_names
        ['translation']
        >>> load_rows([{"en": "Hi.", "fr": "Salut."}])[0]
        {'en': 'Hi.', 'fr': 'Salut.'}
    """
    if is_dataset(data) or is_stream(data):
        return data
    splits = load_splits(data, config, encoding=encoding)
    if isinstance(splits, dict):
        return _one_split(splits, split, data if isinstance(data, str | os.PathLike) else "The data set")
    return _one_split({split.split("[")[0]: splits}, split, data)


def load_splits(data: Any, config: str | None = None, *, encoding: str | None = None) -> "dict[str, Dataset] | Dataset":
    """All splits of a data set by name, or the rows of one without splits; arguments and errors as in `load_rows`."""
    if not isinstance(data, str | os.PathLike):
        return _in_memory(data)
    name = os.fspath(data)
    if encoding is not None:
        known_encoding(encoding)
    if not name:
        raise ValueError("The name of the data set is empty. Give a path, or a Hub id.")
    if name == DEMO:
        return load_demo()
    if name.startswith("excise:"):
        raise ValueError(f"There is no {name}. Of data that excise carries there is {DEMO}, sentence pairs, alone.")
    path = existing_path(name)
    if path is None:
        if not is_hub_id(data) or is_local(name):
            raise ValueError(not_there(data))
        return _from_hub(name, config)
    if path.is_dir():
        return read_folder(path, config, encoding)
    if not path.is_file():
        raise ValueError(f"{name} is neither a file nor a folder. Save what it gives as a file.")
    return read_file(path, encoding)


def own_test_split(
    rows: "Dataset", name: str, config: str | None, split: str | None = None, *, encoding: str | None = None
) -> "Dataset | None":
    """The test split of the data set that some rows are of, `None` where a file is all there is.

    Args:
        rows: of another split.
        name: as in `load_rows`, and so is the next.
        config: likewise.
        split: its name; `test` if not given, and `None` is returned where there is none.
        encoding: as in `load_rows`.
    """
    try:
        test = load_rows(name, config, split or "test", encoding=encoding)
    except (ValueError, KeyError):
        if split:
            raise
        return None
    return None if test._fingerprint == rows._fingerprint else test


def as_rows(data: Any, what: str = "dataset") -> Any:
    """Rows for a function that takes a data set: as `load_rows`, but that a split has to be picked before.

    Raises:
        ValueError: if it is a data set with splits, or what `load_rows` refuses.
    """
    if is_dataset(data) or is_stream(data):
        return data
    if "datasets" in sys.modules and isinstance(data, dict) and type(data).__module__.startswith("datasets."):
        raise ValueError(
            f"The {what} is a {type(data).__name__}; pick one split of it, as `data[{next(iter(data), 'train')!r}]`; "
            f"it has {', '.join(data) or 'none'}."
        )
    return load_rows(data)


def _in_memory(data: Any) -> Any:
    import pandas
    import pyarrow
    from datasets import Dataset

    try:
        if isinstance(data, dict) and type(data).__module__.startswith("datasets."):
            return dict(data)
        if isinstance(data, Mapping):
            single = [name for name, value in data.items() if _is_value(value)]
            if single and len(single) < len(data):
                column = next(name for name in data if name not in single)
                raise ValueError(
                    f"{single[0]!r} is one value and {column!r} a column of them. Give rows, as a list of "
                    "dictionaries, or columns alone."
                )
            if single:
                data = {name: [value] for name, value in data.items()}
            return Dataset.from_dict({name: _without_nan(column) for name, column in data.items()})
        if isinstance(data, pandas.DataFrame):
            if twice := data.columns[data.columns.duplicated()].tolist():
                raise ValueError(f"The DataFrame has more than one column {twice[0]!r}. Give each a name of its own.")
            nested = [
                name for name in data.columns if data[name].map(lambda value: isinstance(value, dict | list)).any()
            ]
            data = data.copy() if nested else data
            for name in nested:
                data[name] = pandas.Series(_without_nan(data[name]), index=data.index, dtype=object)
            return Dataset.from_pandas(data.rename(columns=str), preserve_index=False)
        if isinstance(data, pyarrow.Table):
            return Dataset(data)
        if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
            names = dict.fromkeys(name for row in data for name in row)
            return Dataset.from_dict({name: _without_nan([row.get(name) for row in data]) for name in names})
    except (pyarrow.ArrowException, TypeError) as error:
        raise ValueError(f"The {type(data).__name__} is no table, {first_cause(error)}.") from error
    raise ValueError(
        f"Expected a data set, got {type(data).__name__}{'' if data is None else f' {data!r}'[:60]}. Give a path, a "
        "Hub id, a datasets.Dataset, a DataFrame, a list of rows (dictionaries) or a dictionary of columns."
    )


def _without_nan(column: Any) -> list:
    """Values of which the missing ones, those inside others too, are None, where pandas has numbers that are none."""
    return [_or_none(value) for value in column]


def _or_none(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, Mapping):
        return {key: _or_none(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        # Lists of numbers stay as they are, unless none of them is one.
        deeper = any(isinstance(inner, str | Mapping | list | tuple) for inner in value)
        return _without_nan(value) if deeper or all(inner != inner for inner in value) else value
    return value


def _is_value(data: Any) -> bool:
    """Whether something is one value and no column of them: a text, a number, or a dictionary."""
    return isinstance(data, str | bytes | Mapping) or not hasattr(data, "__iter__")


def _one_split(splits: "Mapping[str, Dataset]", split: str, name: Any) -> "Dataset":
    from datasets import ReadInstruction, concatenate_datasets

    if split in splits:
        return splits[split]
    try:
        parts = ReadInstruction.from_spec(split).to_absolute({each: len(rows) for each, rows in splits.items()})
    except ValueError as error:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(splits)}.") from error
    except (AssertionError, KeyError, TypeError) as error:  # of streams, no part can be taken
        raise ValueError(f"split={split!r} cannot be taken: {first_cause(error)}.") from error
    chosen = [
        rows if (part.from_, part.to) == (0, len(rows)) else rows.select(range(part.from_, part.to))
        for part in parts
        for rows in [splits[part.splitname]]
    ]
    return chosen[0] if len(chosen) == 1 else concatenate_datasets(chosen)


def _from_hub(name: str, config: str | None) -> "Dataset":
    from datasets import config as config_of_datasets
    from datasets import load_dataset

    cached = Path(config_of_datasets.HF_DATASETS_CACHE, name.replace("/", "___")).glob("*")
    # A folder that was called so, and is read from there, has left the digest of its files.
    known = any(not re.search("-[0-9a-f]{16}$", entry.name) for entry in cached)
    if not known and (why := why_not_on_hub(name)):
        raise ValueError(_tried(name, why))
    try:
        return load_dataset(name, config)
    except Exception as error:
        why = f"as a data set of the Hub it cannot be loaded: {first_cause(error)}"
        raise ValueError(_tried(name, why)) from error


def _tried(name: str, why: str) -> str:
    """What was looked for under a name that is no path: in one sentence, with what may have been meant."""
    near = near_entries(name, (DEMO,))
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"There is no file or folder {name} here{meant}, excise carries {DEMO} alone, and {why}."


def is_dataset(value: object) -> bool:
    """Whether something is a `datasets.Dataset`. Where `datasets` is not loaded, which takes a while, nothing is."""
    return "datasets" in sys.modules and isinstance(value, sys.modules["datasets"].Dataset)


def load_demo() -> "DatasetDict":
    """The demo's sentence pairs, in a fixed random order, no English sentence in both splits.

    An extract of Tatoeba (CC BY 2.0 FR, through manythings.org/anki): short sentences of a small vocabulary, with
    enough about each of some topics (teacher, car, dog, book, water, love, money, school, house, father, French, Mary,
    Boston) to forget one of them. `ATTRIBUTION.md` beside the data names the source and what was changed.

    Returns:
        Splits `train` and `test`, each with the column `translation` = {"en": str, "fr": str}.

    >>> demo = load_demo()
    >>> sorted(demo), sorted(demo["test"][0]["translation"])
    (['test', 'train'], ['en', 'fr'])
    """
    import numpy as np
    import pyarrow.parquet as pq
    from datasets import Dataset, DatasetDict, Features, Value

    features = Features({"translation": {"en": Value("string"), "fr": Value("string")}})
    with files("excise.data.packaged").joinpath("tatoeba.parquet").open("rb") as file:
        table = pq.read_table(file)
    # The file is in the order of the alphabet, which packs best; nobody should take its first rows for a sample.
    rows = table.take(np.random.default_rng(0).permutation(table.num_rows))
    splits = np.asarray(rows["split"])
    english, french = rows["en"].to_pylist(), rows["fr"].to_pylist()
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"translation": [{"en": english[row], "fr": french[row]} for row in np.flatnonzero(splits == split)]},
                features=features,
            )
            for split in ("train", "test")
        }
    )


def is_stream(value: object) -> bool:
    """Whether something is a stream, `datasets.IterableDataset`. Where `datasets` is not loaded nothing is."""
    return "datasets" in sys.modules and isinstance(value, sys.modules["datasets"].IterableDataset)


def refuse_stream(dataset: Any) -> None:
    """Refuses a stream where rows are read more than once, in any order, or have to be counted before.

    Raises:
        ValueError: if it is one.
    """
    if is_stream(dataset):
        raise ValueError(
            "An IterableDataset is a stream; its rows cannot be read here, where they are needed in any order and more "
            "than once. Make a data set of it, on disk: `Dataset.from_generator(lambda: iter(stream), "
            "features=stream.features)`; or of a part, with `stream.take(100_000)` in place of `stream`."
        )
