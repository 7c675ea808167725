"""Whether a file can be written where it is to go: asked before the work rather than after it."""

import os
from pathlib import Path


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
