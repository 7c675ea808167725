"""Cache of computed columns, in shards under a fingerprint of what they depend on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from excise.data.forget_sets import without_bars_of_datasets
from excise.storage.digests import digest
from excise.storage.processes import is_main_process
from excise.storage.shared_pass import shared_pass

if TYPE_CHECKING:
    from datasets import Dataset, Features


def in_shards(
    rows: int,
    function: Callable[[list[int]], dict],
    features: "Features",
    about: dict[str, Any],
    *,
    batch_size: int,
    shard_size: int,
    cache_dir: str | os.PathLike | None,
    progress: bool,
) -> "Dataset":
    """What a function makes of each row, computed where no file of an earlier call has it.

    Args:
        rows: number of rows.
        function: takes the numbers of some rows and returns their columns.
        features: of these columns.
        about: all that they depend on, as JSON values; `kind` is what they are called.
        batch_size: rows at once.
        shard_size: rows a file; files of another size are left alone, and rows computed again.
        cache_dir: folder of all caches; that of `datasets` if not given.
        progress: show a progress bar.

    Raises:
        ValueError: if a file is not what was written.
    """
    import datasets
    import pyarrow

    fingerprint = digest(about, {})
    folder = (
        Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE, "excise")) / f"{about['kind']}-{fingerprint[:16]}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    numbers = datasets.Dataset.from_dict({"row": range(rows)})

    def shard(start: int) -> "Dataset":
        part = numbers.select(range(start, min(start + shard_size, rows)))
        file = folder / f"{start:09d}-{start + len(part):09d}.arrow"
        was_there = file.exists()
        try:
            mapped = part.map(
                lambda batch: function(batch["row"]),
                batched=True,
                batch_size=batch_size,
                remove_columns="row",
                features=features,
                cache_file_name=os.fspath(file),
                load_from_cache_file=True,
                new_fingerprint=f"{fingerprint[:32]}-{start}",
            )
        except (pyarrow.ArrowException, OSError) as error:
            if not was_there:
                raise
            raise ValueError(
                f"{file} cannot be read ({error}). Remove this file to have its rows computed again."
            ) from error
        if len(mapped) != len(part) or mapped.features != features:
            raise ValueError(
                f"{file} holds {len(mapped)} rows of {list(mapped.features)}, not the {len(part)} of {list(features)} "
                "that were written there. Remove this file to have its rows computed again."
            )
        return mapped

    def step(_: None, start: int) -> None:
        shard(start)

    starts = range(0, rows, shard_size)
    with without_bars_of_datasets():
        hide = not (progress and is_main_process())
        settings = {"function": about["kind"], "about": about, "folder": os.fspath(folder), "shard_size": shard_size}
        shared_pass(
            lambda: settings,
            tqdm(starts, desc=about["kind"], unit="file", disable=hide, leave=False),
            lambda: None,
            step,
            lambda _: None,
        )
        return datasets.concatenate_datasets([shard(start) for start in starts])


def described(dataset: "Dataset", about: dict[str, Any]) -> "Dataset":
    """The data set, which carries from now on, through `select` and `filter`, what it was made of."""
    dataset.info.description = json.dumps({"excise": about})
    return dataset


def description(dataset: "Dataset") -> dict[str, Any]:
    """What `described` has noted; empty for a data set of other origin."""
    try:
        return json.loads(dataset.info.description)["excise"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
