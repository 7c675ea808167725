"""Folders of data files: their splits, and the rows in them."""

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.data.data_files import first_cause, mark_of, read_file, read_files
from excise.data.file_kinds import kind_of
from excise.data.text_files import check_beginning

if TYPE_CHECKING:
    from datasets import Dataset

# Files that `save_to_disk` leaves.
SAVED = ("dataset_dict.json", "state.json")
# Of these all files are read at once, as there is one way only to write them.
AT_ONCE = {"parquet": "a Parquet file", "arrow": "an Arrow file"}


def read_folder(path: Path, config: str | None = None, encoding: str | None = None) -> "dict[str, Dataset] | Dataset":
    """The splits of a folder by name, or the rows of one that `save_to_disk` wrote of one split.

    Which file is of which split is told by its name or folder, as `datasets` tells it; where no name says, all are of
    `train`.

    Args:
        path: absolute; nothing in its name is a pattern.
        config: one of the configurations that the folder's README names.
        encoding: of its text files, as in `read_file`.

    Raises:
        ValueError: if there is no data in it, or of more than one kind in a split, or it cannot be read.
    """
    from datasets import load_dataset, load_from_disk

    if "::" in str(path):
        raise ValueError(
            f"The folder {path} has '::' in its path, which `datasets` has a use of its own for. Rename it."
        )
    try:
        if any((path / name).is_file() for name in SAVED):
            loaded: Any = load_from_disk(str(path))
            return dict(loaded) if isinstance(loaded, dict) else loaded
        if config is not None or _has_configs(path):
            return dict(load_dataset(str(path), config))
        files = _split_files(path)
        tables = {split: [file for file in paths if kind_of(file)] for split, paths in files.items()}
        if any(tables.values()) and not _has_media(files):
            return {split: _rows(split, paths, encoding) for split, paths in tables.items() if paths}
        return dict(load_dataset(str(path), data_files=_given(files)))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"The folder {path} cannot be read as a data set: {first_cause(error)}.") from error


def _has_configs(path: Path) -> bool:
    """Whether a folder's README says where its data lies."""
    readme = path / "README.md"
    if not readme.is_file():
        return False
    head = readme.read_text(encoding="utf-8", errors="replace").split("\n---")[0]
    return head.startswith("---") and "\nconfigs:" in head


def _split_files(path: Path) -> dict[str, list[Path]]:
    from datasets.data_files import DataFilesDict, get_data_patterns

    escaped = glob.escape(str(path))
    try:
        files = DataFilesDict.from_patterns(get_data_patterns(escaped), base_path=escaped)
    except FileNotFoundError as error:
        shown = sorted(os.listdir(path))[:5]
        raise ValueError(
            f"The folder {path} holds no data{', but ' + ', '.join(shown) if shown else '; it is empty'}. Give one "
            "with data files. A data set of the Hub that is called so is read from another folder."
        ) from error
    found = {str(split): [Path(file) for file in paths] for split, paths in files.items()}
    if not any(found.values()):
        raise ValueError(f"The folder {path} holds no data. Give one with data files.")
    return found


def _has_media(files: dict[str, list[Path]]) -> bool:
    """Whether images are among files: then tables beside them say what is in these."""
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    endings = {*ImageFolder.EXTENSIONS, ".tar"}
    return any(file.suffix.lower() in endings for paths in files.values() for file in paths)


def _rows(split: str, files: list[Path], encoding: str | None) -> "Dataset":
    """The rows of files of one split; texts beside tables are notes on these."""
    from datasets import concatenate_datasets

    kinds = {kind: [file for file in files if kind_of(file) == kind] for kind in map(kind_of, files)}
    if len(kinds) > 1:
        kinds.pop("text", None)
    if len(kinds) > 1:
        several = ", ".join(f"{paths[0].name} ({kind})" for kind, paths in kinds.items())
        raise ValueError(
            f"The folder {files[0].parent} holds files of several kinds for the split {split!r}: {several}. Give one "
            "of the files, or a folder of files of one kind."
        )
    ((kind, paths),) = kinds.items()
    if kind in AT_ONCE:
        for path in paths:
            check_beginning(path, AT_ONCE[kind])
        return read_files(paths, str(kind))
    parts = [read_file(path, encoding) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.column_names != parts[0].column_names:
            raise ValueError(
                f"{path} has the columns {part.column_names}, and {paths[0].name} {parts[0].column_names}. Give files "
                "with the same ones."
            )
    return concatenate_datasets(parts)


def _given(files: dict[str, list[Path]]) -> dict[str, Any]:
    """Files as a list that `datasets` takes as it is, no name in it a pattern."""
    from datasets.data_files import DataFilesList

    def mark(path: Path) -> Any:
        if kind_of(path):
            return mark_of(path)
        state = path.stat()  # of images, of which there may be many, the paths alone are kept
        return str(state.st_mtime_ns), str(state.st_size)

    return {
        split: DataFilesList([str(path) for path in paths], [mark(path) for path in paths])
        for split, paths in files.items()
    }
