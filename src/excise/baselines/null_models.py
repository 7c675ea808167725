"""Cache of models that never saw a topic or class, trained once by a recipe: the null of attacks."""

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, TrainingArguments

from excise.data.class_labels import class_labels
from excise.data.classes import ClassSets
from excise.data.columns import read_column
from excise.data.forget_sets import dataset_digest
from excise.data.topics import TopicSets
from excise.storage.digests import digest, sha256_of
from excise.storage.display import shortened
from excise.storage.expected import expects
from excise.storage.files import check_free, fcntl, new_folder
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, read

RECORD, MODEL = "never_saw.json", "model"
FORMAT_VERSION = 1
# Of the arguments of a `Trainer`, those that say where and how it writes and shows, and change no weight.
NOT_OF_THE_TRAINING = (
    *("output_dir", "logging", "log_", "report_to", "disable_tqdm", "save_", "push_to_hub", "hub_", "run_name"),
    *("project", "trackio", "dataloader_", "resume_from_checkpoint"),
)

# Handles of the locks that this process holds, by folder.
_locks: dict[str, int] = {}


@expects("rows", train="function", cache="folder")
def never_saw(
    train: Callable[[Dataset], PreTrainedModel],
    rows: Dataset,
    cache: str | os.PathLike,
    *,
    settings: Any,
    base: PreTrainedModel | str | os.PathLike | None = None,
) -> PreTrainedModel:
    """A model that never saw a topic or class: the one in a cache if it is there, or one trained now and put there.

    It is found by a fingerprint of all that made it: the rows, the settings, the base's weights, the source of `train`
    and the version of excise. It is put there whole or not at all; who is killed meanwhile has left nothing, and the
    next call trains. Of several that ask for one model at once one trains, and the others wait for it. The processes
    of a run (`torchrun`) train together, as their `Trainer` does.

    Args:
        train: makes the model of rows: `CodebookT5ForConditionalGeneration.from_base`, `initialize_codes` and a
            `Seq2SeqTrainer`, or `retrain`. What it takes from elsewhere belongs into `settings`.
        rows: what it is trained on, without the topic or class; `without_topic` gives them.
        cache: a folder, made if it is not there.
        settings: all that decides the training besides rows, base and the code of `train`: training arguments, a
            dataclass, or JSON values, such as `{"args": args, "codes": 1024, "tokenizer": "t5-small"}`. Where files
            are written and how progress is shown does not count.
        base: the weights that the training begins with: a model, or a folder that one was saved in.

    Returns:
        The model as it was saved, in eval mode and on the CPU; the same in the first call and in later ones.

    Raises:
        ValueError: if the rows are empty, the settings are no JSON, `base` is no model, or what is in the cache is
            damaged.
        OSError: if the cache cannot be written.

    Example:
        kept = without_topic(pairs, topic)
        null = never_saw(lambda rows: retrain(make_model, rows, args).model, kept, "cache", settings=args)
    """
    if len(rows) == 0:
        raise ValueError("There are no rows to train on: all of them are of the topic or class, or there were none.")
    about = _about(train, rows, settings, base)
    folder = Path(cache) / digest(about, {})[:32]
    with _found_or_claimed(folder) as is_there:
        if not is_there:
            model = train(rows)
            if not isinstance(model, PreTrainedModel):
                raise ValueError(f"`train` gave a {type(model).__name__}; expected the model that it has trained.")
            _save(model, folder, about)
    return _load(folder)


@expects("dataset", topic="sets")
def without_topic(dataset: Dataset, topic: TopicSets | ClassSets, column: str | None = None) -> Dataset:
    """The rows of a data set that have nothing of a topic or class.

    Of a topic, those whose text holds none of its words and inflections, in compounds neither; names are found as
    `topic_sets` finds them, with their capital. Of a class, those of all others, which go by
    their names; of labels without names, those of all other labels.

    Args:
        dataset: such as a model was trained on, with the columns that the sets were made of.
        topic: sets.
        column: the source column or key, where it is not called as it was for the sets; of a class, that of labels.

    Raises:
        ValueError: if there is no such column, the classes are other ones, or no row is left.
    """
    if isinstance(topic, ClassSets):
        _, labels, _ = class_labels(dataset, column, topic.classes)
        kept = np.flatnonzero([label != topic.label for label in labels])
    else:
        column = column or ("text" if {"text", "spans"} <= set(dataset.column_names) else topic.text)
        matcher = topic.matcher
        texts = read_column(dataset, column)
        kept = np.flatnonzero([not (isinstance(text, str) and matcher.touches(text)) for text in texts])
    if not len(kept):
        raise ValueError(f"All {len(dataset)} rows are of {topic.name!r}: nothing is left to train on.")
    return dataset.select(kept)


def _about(train: Callable[..., Any], rows: Dataset, settings: Any, base: Any) -> dict[str, Any]:
    """What a model depends on, as JSON values."""
    return {
        "data": dataset_digest(rows),
        "settings": _json(settings),
        "base": _base_digest(base),
        "train": _source(train),
        "excise": version("excise"),
    }


def _json(value: Any) -> Any:
    if isinstance(value, TrainingArguments):
        return {k: _json(v) for k, v in value.to_dict().items() if not k.startswith(NOT_OF_THE_TRAINING)}
    if is_dataclass(value) and not isinstance(value, type):
        return _json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _json(of_key) for key, of_key in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(
        f"`settings` holds a {type(value).__name__}, which is no JSON value: {shortened(repr(value), 80)}. Say in "
        "words or numbers what it is."
    )


def _base_digest(base: Any) -> str | dict[str, str] | None:
    if base is None:
        return None
    if isinstance(base, PreTrainedModel):
        return digest({}, base.state_dict())
    files = sorted(Path(base).glob("*.safetensors")) or sorted(Path(base).glob("*.bin"))
    if not files:
        raise ValueError(f"base={os.fspath(base)!r} is no folder that holds weights. Give one, or the model itself.")
    return {file.name: sha256_of(file) for file in files}


def _source(function: Callable[..., Any]) -> str:
    """The source of a function, of whatever `functools.partial` has wrapped; its name where there is none."""
    function = getattr(function, "func", function)
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed in, or no plain function
        return getattr(function, "__qualname__", type(function).__qualname__)


@contextmanager
def _found_or_claimed(folder: Path) -> Iterator[bool]:
    """Whether a model is there; if not, no other process makes it before the context ends."""
    try:
        yield _claim(folder)
    finally:
        _release(folder)


@by_main_process("folder")
def _claim(folder: Path) -> bool:
    """Waits until nobody else makes the model, and tells whether it is there by then."""
    if (folder / RECORD).is_file():
        return True
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is not None:
        handle = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # let go when this process ends, however it ends
        except OSError:  # not every file system has locks; then several may train, and the first is kept
            os.close(handle)
        else:
            _locks[str(folder)] = handle
    return (folder / RECORD).is_file()


def _release(folder: Path) -> None:
    if (handle := _locks.pop(str(folder), None)) is not None:
        os.close(handle)


@by_main_process("folder")
def _save(model: PreTrainedModel, folder: Path, about: dict[str, Any]) -> None:
    try:
        with new_folder(folder) as partial:
            model.save_pretrained(partial / MODEL)
            files = sorted(file for file in (partial / MODEL).iterdir() if file.is_file())
            kind = type(model)
            record = {
                "version": FORMAT_VERSION,
                "class": [kind.__module__, kind.__qualname__],
                "about": about,
                "sha256": {file.name: sha256_of(file) for file in files},
            }
            (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except FileExistsError:  # another one was faster, where there are no locks
        if not (folder / RECORD).is_file():
            raise


def _load(folder: Path) -> PreTrainedModel:
    """A model of the cache, after its files were held against their digests."""
    record = checked(read(folder / RECORD), dict[str, Any], RECORD)
    if record.get("version") != FORMAT_VERSION:
        raise ValueError(f"{folder} is in another format than this excise reads. Remove it, and it is trained again.")
    digests = checked(record.get("sha256"), dict[str, str], f"sha256 in {RECORD}")
    for name, expected in digests.items():
        file = folder / MODEL / Path(name).name
        if not file.is_file() or sha256_of(file) != expected:
            raise ValueError(
                f"{file} is not what was saved: the cache is damaged. Remove {folder}, and it is trained again."
            )
    module, name = checked(record.get("class"), list[str], f"class in {RECORD}")
    if module.startswith(("excise.", "transformers.")):  # nothing else is imported by a name that stands in a file
        import_module(module)
    kind: Any = getattr(sys.modules.get(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise ValueError(f"The model is a {module}.{name}, which is not imported. Import it, and ask again.")
    return kind.from_pretrained(folder / MODEL).eval()
