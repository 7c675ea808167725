"""Whether results can be written where they are to go: asked before the work rather than after it."""

import os
from pathlib import Path

from excise.files import check_free


def check_folder(folder: str) -> None:
    """Makes sure that a new or empty folder can be filled.

    Raises:
        OSError: if it holds something, or its place is no folder or cannot be written to.
    """
    check_free(folder)
    _check_place(folder)


def check_file(file: str | None) -> None:
    """Makes sure that a file can be written, if one is asked for.

    Raises:
        OSError: if it is a folder, or its place is no folder or cannot be written to.
    """
    if file is None:
        return
    if Path(file).is_dir():
        raise IsADirectoryError(f"{file} is a folder. Give a file.")
    _check_place(file)


def _check_place(target: str) -> None:
    # Folders on the way are made when the result is written.
    place = next(parent for parent in Path(target).absolute().parents if parent.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"{target} cannot be written: {place} is no folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{target} cannot be written: {place} takes no new files.")
