"""Files and folders that are there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_free(folder: str | os.PathLike) -> None:
    """Makes sure that a folder can be filled: before the work rather than after it.

    Raises:
        FileExistsError: if something is there that is no empty folder.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder. Give a new one, or remove what is there.")


@contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, which takes its name only when the context ends without an error.

    Args:
        folder: a path where there is nothing, or an empty folder.

    Raises:
        FileExistsError: if something is there, as an older save could hold what a newer one deleted.
    """
    check_free(folder)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp's folders are private
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, which replaces `path` only when the context ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
