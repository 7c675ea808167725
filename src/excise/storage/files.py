"""Files and folders that are there whole or not at all (atomic writing)."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from excise.storage.expected import ARGUMENTS
from excise.storage.processes import is_main_process

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]  # a module, or nothing

# Letters of a name that its hidden folder keeps, so that the whole is no longer than names may be.
KEPT = 50


def check_free(folder: str | os.PathLike) -> None:
    """Makes sure that a folder can be filled: before the work rather than after it.

    Raises:
        FileExistsError: if something is there that is no empty folder.
        PermissionError: if it cannot be made there.
    """
    ARGUMENTS["folder"].check(folder, "folder")
    if os.path.islink(folder) and not os.path.exists(folder):
        raise FileExistsError(f"{folder} is a link to what is not there. Remove it, or give the folder itself.")
    path = Path(folder).resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise _not_free(folder)
    if path.is_mount() or path == Path.cwd():
        raise FileExistsError(f"{folder} is in use as it is and cannot be replaced. Give a new folder inside it.")
    parent = next(parent for parent in path.parents if parent.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise PermissionError(f"{folder} cannot be made: {parent} is no folder that can be written to.")


def _not_free(folder: str | os.PathLike) -> FileExistsError:
    return FileExistsError(f"{folder} exists and is not an empty folder. Give a new one, or remove what is there.")


@contextmanager
def _hidden_beside(path: Path, mode: int) -> Iterator[Path]:
    """A new hidden folder beside a path, locked as long as this process lives and gone when the context ends.

    Its name cannot be foreseen, so nothing can lie in wait there. One that a killed process has left is removed.
    """
    if not is_main_process():
        raise RuntimeError(f"{path} is written by the main process of a run, and this is another. Do it there alone.")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        hidden = path.with_name(f".{path.name[:KEPT]}-{uuid.uuid4().hex}")
        hidden.mkdir(mode)
        try:
            if (handle := _locked(hidden)) is not None:
                break
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
    try:
        _remove_abandoned(path)
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        if handle >= 0:
            os.close(handle)


def _locked(hidden: Path) -> int | None:
    """The handle of a lock on a new folder, -1 where there are no locks; `None` if another process cleans it up."""
    if fcntl is None:
        return -1
    try:
        handle = os.open(hidden, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(hidden)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # not every file system has locks, and without them nobody cleans up
        return handle
    os.close(handle)
    return None


def _remove_abandoned(path: Path) -> None:
    """Removes what processes that were killed have begun to write in the place of a folder or file."""
    if fcntl is None:
        return
    for other in path.parent.glob(f".*-{'[0-9a-f]' * 32}"):
        if not re.fullmatch(rf"\.{re.escape(path.name[:KEPT])}-[0-9a-f]{{32}}", other.name) or not other.is_dir():
            continue
        try:
            handle = os.open(other, os.O_RDONLY)
        except OSError:  # gone by now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other, ignore_errors=True)
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
        FileExistsError: if something is there, as an older save could hold what a newer one deleted; or is there when
            all is written, as of several that fill it at once only one is kept.
        RuntimeError: if this is another process than the main one of a run.
    """
    check_free(folder)
    path = Path(folder).resolve()
    with _hidden_beside(path, 0o777) as partial:
        yield partial
        try:
            partial.replace(path)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) or (os.name == "nt" and path.exists()):
                raise _not_free(folder) from error
            raise


@contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, which replaces `path` only when the context ends without an error.

    It is in a hidden folder that is this user's alone. A link at `path` is replaced; what it leads to is left alone.

    Raises:
        RuntimeError: if this is another process than the main one of a run.
    """
    path = Path(path)
    with _hidden_beside(path, 0o700) as hidden:
        partial = hidden / path.name
        yield partial
        partial.replace(path)


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
