"""Encodings of text files: the one that is asked for, that of a byte order mark, or UTF-8."""

import codecs
import difflib
import lzma
import warnings
from pathlib import Path

from excise.data.text_files import BLOCK, check_beginning, unpacked

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Encodings that messages offer, of the hundred that Python knows.
OFFERED = (
    *("utf-8", "utf-16", "latin-1", "cp1252", "iso-8859-15", "cp1250", "iso-8859-2", "cp1251", "koi8-r", "cp437"),
    *("mac-roman", "cp1253", "cp1254", "cp1255", "cp1256", "shift_jis", "euc_jp", "euc_kr", "gb18030", "big5"),
)


def known_encoding(name: str) -> str:
    """An encoding's name as Python has it.

    Raises:
        ValueError: if Python knows none of the name, or it is none of texts; near ones are told.

    Example:
        >>> known_encoding("UTF8"), known_encoding("Windows-1252")
        ('utf-8', 'cp1252')
    """
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # an encoding of bytes, such as base64, takes no texts
        return found
    except (LookupError, UnicodeError, TypeError, ValueError):
        near = difflib.get_close_matches(str(name).lower(), OFFERED, n=3, cutoff=0.6)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(
            f"encoding={name!r} is none of texts that Python knows{hint}: expected one such as {', '.join(OFFERED)}."
        ) from None


def text_encoding(path: Path, encoding: str | None = None) -> str:
    """The encoding of a text file: the one given, that of its byte order mark, or UTF-8.

    All of the file is decoded, so that what is another encoding is told rather than guessed.

    Raises:
        ValueError: if it is not in that encoding, and the message names the line; or its mark is another's.
    """
    given = None if encoding is None else known_encoding(encoding)
    check_beginning(path)
    try:
        with unpacked(path) as file:
            start = file.read(4)
            marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
            if given and marked and not given.startswith(marked.removesuffix("-sig")):
                raise ValueError(
                    f"{path} begins with the mark of {marked.removesuffix('-sig')}, so that it is not in {encoding}. "
                    "Leave the encoding out for this file."
                )
            name = marked or given or "utf-8"
            decoder = codecs.getincrementaldecoder(name)()
            line, block = 1, start
            while block:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    line += error.object[: error.start].count(b"\n")
                    raise ValueError(_undecodable(path, name, line, error.object[error.start])) from error
                if b"\0" in block and not name.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
                    raise ValueError(
                        f"{path} holds bytes that are zero, as texts in UTF-16 do. Give `encoding='utf-16-le'`, or "
                        "save it as UTF-8."
                    )
                line += block.count(b"\n")
                block = file.read(BLOCK)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} ends in the middle of a letter ({name}): it was cut off. Get it anew.") from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}.") from error
    if given and not name.startswith("utf") and _is_utf_8(path):
        warnings.warn(
            f"{path} is UTF-8 from its first to its last letter, and is read in {encoding} as asked for. If its "
            "letters come out wrong, leave the encoding out.",
            stacklevel=2,
        )
    return name


def _is_utf_8(path: Path) -> bool:
    """Whether a file is UTF-8, and not plain ASCII, which is the same in many encodings."""
    decoder, ascii_alone = codecs.getincrementaldecoder("utf-8")(), True
    try:
        with unpacked(path) as file:
            while block := file.read(BLOCK):
                decoder.decode(block)
                ascii_alone = ascii_alone and block.isascii()
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return not ascii_alone


def _undecodable(path: Path, encoding: str, line: int, byte: int) -> str:
    if not encoding.startswith("utf-8"):
        return (
            f"{path} is not in {encoding}: byte 0x{byte:02x} in line {line} is none of it. Leave the encoding out for "
            f"UTF-8, or give another, such as {', '.join(OFFERED)}."
        )
    return (
        f"{path} is not in {encoding}: byte 0x{byte:02x} in line {line} is none of it. Save it as UTF-8, as by "
        "`iconv -f cp1252 -t utf-8`, or give its encoding, as `encoding='cp1252'` (of Western Windows; on the "
        "command line `--encoding cp1252`)."
    )
