"""Files and folders that are there whole or not at all."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def check_free(folder: str | os.PathLike) -> None:
    """Makes sure that a folder can be filled: before the work rather than after it.

    Raises:
        FileExistsError: if something is there that is no empty folder.
        PermissionError: if it cannot be made there.
    """
    path = Path(folder).resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder. Give a new one, or remove what is there.")
    if path.is_mount() or path == Path.cwd():
        raise FileExistsError(f"{folder} is in use as it is and cannot be replaced. Give a new folder inside it.")
    parent = next(parent for parent in path.parents if parent.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise PermissionError(f"{folder} cannot be made: {parent} is no folder that can be written to.")


@contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, which takes its name only when the context ends without an error.

    Args:
        folder: a path where there is nothing, or an empty folder.

    Raises:
        FileExistsError: if something is there, as an older save could hold what a newer one deleted.
    """
    check_free(folder)
    folder = Path(folder).resolve()
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    partial.mkdir(parents=True)
    try:
        yield partial
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
