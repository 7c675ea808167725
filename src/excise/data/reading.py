"""Data sets by the names that a command line gives: files, folders and Hub ids."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

# The sentence pairs that excise carries.
DEMO = "excise:demo"
FILES = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def load_rows(name: str, config: str | None = None, split: str = "train") -> "Dataset":
    """One split of a data set.

    Args:
        name: a parquet, csv, json or jsonl file, a folder that `save_to_disk` wrote, `excise:demo`, or what
            `datasets.load_dataset` takes: a folder or a Hub id.
        config: its configuration.
        split: the split; a file is one split whatever its name.

    Raises:
        ValueError: if there is no such file or split.

    Example:
        >>> load_rows("excise:demo", split="test").column_names
        ['translation']
    """
    from datasets import DatasetDict, load_dataset, load_from_disk

    path = Path(name)
    if name == DEMO:
        from excise.data.packaged import load_demo

        rows = load_demo()
    elif path.suffix in FILES:
        if not path.is_file():
            raise ValueError(f"There is no file {name}.")
        return load_dataset(FILES[path.suffix], data_files=str(path), split="train")
    elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        rows = load_from_disk(name)
    else:
        return load_dataset(name, config, split=split)
    if not isinstance(rows, DatasetDict):
        return rows
    if split not in rows:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(rows)}.")
    return rows[split]
