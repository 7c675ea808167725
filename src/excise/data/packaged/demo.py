"""The packaged extract of English-French sentence pairs."""

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import DatasetDict


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
