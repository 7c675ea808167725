"""Files and folders that are there whole or not at all (atomic writing)."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]  # a module, or nothing


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
def _own(partial: Path) -> Iterator[None]:
    """Holds a lock on a folder that is being filled; it ends with the process, however that ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(partial, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    """Removes what processes that were killed have begun to write in the place of a folder."""
    if fcntl is None:
        return
    for path in folder.parent.iterdir():
        if not re.fullmatch(rf"\.{re.escape(folder.name)}-[0-9a-f]{{32}}", path.name) or not path.is_dir():
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:  # another process is filling it
            continue
        finally:
            os.close(handle)


@contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, which takes its name only when the context ends without an error.

    Until then it is a hidden one beside it. One that a killed process has left is removed the next time.

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
        with _own(partial):
            _remove_abandoned(folder)
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


def check_file(file: str | None) -> None:
    """Makes sure that a file can be written, if one is asked for.

    Raises:
        OSError: if it is a folder, or its place is no folder or takes no new files.
    """
    if file is None:
        return
    if Path(file).is_dir():
        raise IsADirectoryError(f"{file} is a folder. Give the path of a file.")
    # Folders on the way are made when the file is written.
    place = next(parent for parent in Path(file).absolute().parents if parent.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise PermissionError(f"{file} cannot be written: {place} is no folder that can be written to.")
