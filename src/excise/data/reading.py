"""Data sets by name: files, folders, Hub ids, and the sentence pairs that excise carries."""

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

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
