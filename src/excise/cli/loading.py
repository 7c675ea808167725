"""Models and data sets by the names that a command line gives."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

    from excise.unlearner import Unlearner

# The sentence pairs that excise carries.
DEMO = "excise:demo"
FILES = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def load_model(name: str):
    """Any sequence-to-sequence model, on a GPU where there is one, and its tokenizer."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    _check_there(name)
    model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()
    return model.to(_device()), AutoTokenizer.from_pretrained(name)


def load_unlearner(name: str) -> "Unlearner":
    """A model with bottlenecks or an adapter of one, on a GPU where there is one, and its ledger.

    Raises:
        ValueError: if the model has no bottleneck, or its masks are not those of its ledger.
    """
    from excise.unlearner import Unlearner

    _check_there(name)
    unlearner = Unlearner.from_pretrained(name)
    unlearner.whole.eval().to(_device())
    return unlearner


def _check_there(name: str) -> None:
    if name.startswith((".", os.sep)) and not Path(name).is_dir():
        raise ValueError(f"There is no folder {name}. Give the folder of a saved model, or its id on the Hub.")


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_rows(name: str, config: str | None = None, split: str = "train") -> "Dataset":
    """One split of a data set.

    Args:
        name: a parquet, csv, json or jsonl file, a folder that `save_to_disk` wrote, `excise:demo`, or what
            `datasets.load_dataset` takes: a folder or a Hub id.
        config: its configuration.
        split: the split; a file is one split whatever its name.

    Raises:
        ValueError: if there is no such file or split.
    """
    from datasets import DatasetDict, load_dataset, load_from_disk

    path = Path(name)
    if name == DEMO:
        from excise.data.packaged import load_demo

        found = load_demo()
    elif path.suffix in FILES:
        if not path.is_file():
            raise ValueError(f"There is no file {name}.")
        return load_dataset(FILES[path.suffix], data_files=str(path), split="train")
    elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        found = load_from_disk(name)
    else:
        return load_dataset(name, config, split=split)
    if not isinstance(found, DatasetDict):
        return found
    if split not in found:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(found)}.")
    return found[split]
