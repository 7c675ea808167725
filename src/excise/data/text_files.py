"""Text files: their compression, and the separators and quotes of tables in them."""

import bz2
import csv
import gzip
import lzma
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What files begin with that are not what their name says.
BEGINNINGS = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip archive or a workbook",
    b"\x1f\x8b": "a file that gzip compressed",
    b"BZh": "a file that bzip2 compressed",
    b"\xfd7zXZ": "a file that xz compressed",
    b"\x28\xb5\x2f\xfd": "a file that zstd compressed",
    b"%PDF": "a PDF",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, in place of the file itself (`git lfs pull` fetches that)",
}
BLOCK = 1 << 20
INTEGER = re.compile(r"[+-]?\d{1,18}")
# A field in quotes, which a first line may not hold to its end.
QUOTED = re.compile(r'"(?:[^"]|"")*(?:"|$)')
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SEPARATORS = (",", "\t", ";", "|")
# As many lines at most the names of columns take.
MOST_LINES = 100
# Longest text that one field of a table may hold, in letters; the module's own limit is of 131,072.
LONGEST_FIELD = 1 << 26


class Dialect(NamedTuple):
    """How a table is written.

    Args:
        names: of the columns.
        header: whether its first line holds them.
        options: what pandas' `read_csv` is to know of separators and quotes.
        types: of the columns, told from all rows; none where truths are among them, which pandas tells.
    """

    names: list[str]
    header: bool
    options: dict[str, Any]
    types: list[str]


def unpacked(path: Path) -> IO[bytes]:
    """A file's bytes, of a compressed one those before that."""
    return cast(IO[bytes], COMPRESSED.get(path.suffix.lower(), open)(path, "rb"))


def check_beginning(path: Path, allowed: str = "") -> None:
    """Refuses a file that is empty, or begins as one of another kind than its name says.

    Raises:
        ValueError: if it is or does.
    """
    try:
        with unpacked(path) as file:
            start = file.read(64)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}.") from error
    if not start:
        raise ValueError(f"{path} is empty. Give a file with at least one row.")
    for beginning, kind in BEGINNINGS.items():
        if start.lower().startswith(beginning.lower()) and kind != allowed:
            raise ValueError(
                f"{path} is {kind}, whatever its name says. Give it the ending of its kind, or convert it."
            )


@contextmanager
def opened(path: Path, encoding: str) -> Iterator[TextIOWrapper]:
    """A text file's letters, line ends as they stand."""
    with unpacked(path) as file, TextIOWrapper(cast(Any, file), encoding, newline="") as text:
        yield text


def first_row(file: TextIOWrapper) -> str:
    """The first lines of a table that are not empty: one, or those that its quotes hold together."""
    first = next((line for line in file if line.strip()), "")
    joined = first
    for line in islice(file, MOST_LINES if first.lstrip().startswith('"') else 0):
        if joined.count('"') % 2 == 0:
            return joined
        joined += line
    return joined if joined.count('"') % 2 == 0 else first


def table_dialect(path: Path, encoding: str, suffix: str) -> Dialect:
    """How a file of separated values is written, told from all of it.

    The separator is one that is in the first line: of several, the comma, or the tab in files whose ending says so.
    A quotation mark in a file with tabs is a letter like any other where it cannot be read as quoting, or would hide
    a tab or a line break in a file that is whole without it; unless all fields but numbers are in quotes.

    Args:
        path: the file.
        encoding: its encoding.
        suffix: its ending, without that of a compression: `.csv`, `.tsv`, `.tab` or `.txt`.

    Raises:
        ValueError: if two columns have one name, a line has more or fewer fields than the first, or a quotation mark
            is not closed; the message names the line.
    """
    with opened(path, encoding) as file:
        first = first_row(file)
    bare = QUOTED.sub("", first)  # what separates stands outside of quotes, if there are any
    bare = bare if any(sign in bare for sign in SEPARATORS) else first
    counts = Counter({sign: bare.count(sign) for sign in SEPARATORS if sign in bare})
    preferred = "," if suffix == ".csv" else "\t"
    separator = preferred if preferred in counts or not counts else counts.most_common(1)[0][0]
    default: dict[str, Any] = {"delimiter": separator, "quotechar": '"', "doublequote": True}
    ways = [default, default | {"doublequote": False, "escapechar": "\\"}]
    if separator == "\t":
        ways.append({"delimiter": separator, "quoting": csv.QUOTE_NONE})
    limit = csv.field_size_limit(LONGEST_FIELD)
    errors = []
    try:
        for way in ways:
            try:
                names, doubt, types = _checked(path, encoding, way, suffix != ".txt")
                if doubt and way is default:
                    with suppress(ValueError, csv.Error):
                        other = ways[1] if doubt == "\\" else ways[-1]
                        (names, _, types), way = _checked(path, encoding, other, suffix != ".txt"), other
            except csv.Error as error:
                errors.append(error)
                continue
            header = suffix != ".txt" or _is_header(names)
            if not header:
                names = [str(number) for number in range(len(names))]
            names = [name.strip() or f"Unnamed: {number}" for number, name in enumerate(names)]
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"{path} has more than one column {twice[0]!r}. Give each a name of its own.")
            options = {key: value for key, value in way.items() if key != "delimiter"}
            return Dialect(names, header, {"sep": separator, **options}, types)
    finally:
        csv.field_size_limit(limit)
    raise ValueError(f"{path}: {errors[0]} Put texts that hold quotation marks in quotes, and double those inside.")


def _checked(path: Path, encoding: str, way: dict[str, Any], header: bool) -> tuple[list[str], str, list[str]]:
    """The first row of a table all of whose rows are as long; a sign that casts doubt, and the columns' types."""
    names: list[str] = []
    doubt, kinds, in_quotes = "", list[set[str]](), True
    lines: list[str] = []
    if "escapechar" in way:
        _check_escapes(path, encoding, way["delimiter"])
    with opened(path, encoding) as file:
        reader = csv.reader(_kept(file, lines), strict=True, **way)
        rows = iter(reader)
        while True:
            before = reader.line_num + 1
            lines.clear()
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise csv.Error(f"Line {before} cannot be read, {error}.") from error
            if row is None:
                types = [_type(of_column) for of_column in kinds]
                doubt = "" if in_quotes and doubt == "\t" else doubt
                return names, doubt, [] if None in types else [str(of) for of in types]
            in_quotes = in_quotes and _is_in_quotes("".join(lines), row, way["delimiter"])
            if not names and row:
                names, kinds = row, [set() for _ in row]
                if header:
                    continue
            if way["delimiter"] == "\t" and any("\t" in field for field in row):
                doubt = "\t"
            elif any('\\"' in field for field in row):
                doubt = doubt or "\\"
            for of_column, field in zip(kinds, row, strict=False):
                if "text" not in of_column:
                    of_column.add(_kind(field))
            if row and len(row) != len(names):
                if '"' in "".join(row) and "quoting" not in way:
                    raise csv.Error(f"Line {before} has {len(row)} fields where the first has {len(names)}.")
                raise ValueError(
                    f"{path}: Line {before} has {len(row)} fields where the first has {len(names)} (separator "
                    f"{way['delimiter']!r}). Put texts that hold the separator or a line break in quotes, or repair "
                    "the line."
                )


def _check_escapes(path: Path, encoding: str, separator: str) -> None:
    r"""Makes sure that of a table with escaped quotation marks nothing is lost but what escaping put there.

    Python's reader and pandas' would read `"No," he said` without its quotation marks, and `C:\\new` as `C:new`.

    Raises:
        csv.Error: if no quotation mark is escaped, or a text goes on behind one that closes it.
        ValueError: if a backslash stands before another sign than a quotation mark or a backslash.
    """
    sign = re.escape(separator)
    within, bare = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL), re.compile(rf"(?:[^\\\r\n{sign}]|\\.)*", re.DOTALL)
    behind = re.compile(rf"{sign}|[\r\n]+|$")
    quoted, lone, seen = False, "", set[str]()
    with opened(path, encoding) as file:
        for number, line in enumerate(file, 1):
            place = 0
            while place < len(line):
                if not quoted and line[place] == '"':
                    quoted, place = True, place + 1
                part = cast(re.Match, (within if quoted else bare).match(line, place))
                seen.update(escapes := re.findall(r"\\(.)", part[0], re.DOTALL))
                if not lone and (others := [sign for sign in escapes if sign not in '"\\']):
                    lone = f"Line {number} has a backslash before {others[0]!r}"
                place = part.end()
                if quoted and place < len(line):
                    quoted, place = False, place + 1
                if not quoted:
                    if not (end := behind.match(line, place)):
                        raise csv.Error(f"Line {number} cannot be read, {separator!r} expected after '\"'.")
                    place = end.end()
    if '"' not in seen:
        raise csv.Error("No quotation mark is escaped.")
    if lone:
        raise ValueError(
            f"{path}: {lone}, and others stand before quotation marks. Double it where it is a letter, or double the "
            "quotation marks inside texts in place of the backslashes before them."
        )


def _kept(file: TextIOWrapper, lines: list[str]) -> Iterator[str]:
    """A file's lines, each of which is put into a list as it is read."""
    for line in file:
        lines.append(line)
        yield line


def _is_in_quotes(line: str, row: list[str], separator: str) -> bool:
    """Whether each field of a row stands in quotes, or is a number."""
    place = 0
    for field in row:
        quoted = '"' + field.replace('"', '""') + '"'
        if line.startswith(quoted, place):
            place += len(quoted)
        elif _kind(field) in ("text", "truth"):
            return False
        else:
            place += len(field)
        if place < len(line) and line[place] not in (separator, "\r", "\n"):
            return False
        place += 1
    return True


def _kind(field: str) -> str:
    """What one field may be."""
    if not field:
        return "nothing"
    if INTEGER.fullmatch(field):
        return "int64"
    if NUMBER.fullmatch(field):
        return "float64"
    return "truth" if field.lower() in ("true", "false") else "text"


def _type(kinds: set[str]) -> str | None:
    """What a column holds of whose fields there are these kinds; None where pandas is to tell."""
    if "truth" in kinds and "text" not in kinds:
        return None
    if "text" in kinds or kinds <= {"nothing"}:
        return "string"
    return "int64" if kinds == {"int64"} else "float64"


def _is_header(names: list[str]) -> bool:
    """Whether the first line of a `.txt` names its columns: short, and none that ends as a sentence does."""
    return all(name.strip() and len(name.split()) <= 3 and name.strip()[-1].isalnum() for name in names)
