"""Kinds of hostile files, by what an audit says of each.

A kind is a function that makes files in a folder. It is given bytes of an erased row, and plants them where a reader
can get at them if its kind is one of rows. None of the files takes more than some megabytes of a disk.
"""

from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path, bytes], None]
# What an audit says of each kind: that it could not be read, that a row is there, both, or nothing.
UNREAD: dict[str, Make] = {}
ROWS: dict[str, Make] = {}
BOTH: dict[str, Make] = {}
CLEAN: dict[str, Make] = {}


def kind(*of: dict[str, Make]) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        for kinds in of:
            kinds[make.__name__] = make
        return make

    return add
