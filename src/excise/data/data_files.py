"""Data files: their kinds, and the rows in them."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from excise.data.file_kinds import ARCHIVE, inner_suffix, kind_of, language_of, why_unread
from excise.data.text_encodings import text_encoding
from excise.data.text_files import COMPRESSED, check_beginning, first_row, opened, table_dialect

if TYPE_CHECKING:
    from datasets import Dataset

# Bytes of a file that is looked at whole to tell whether it was changed; of a larger one, and of its end.
WHOLE, BLOCK = 1 << 26, 1 << 20


def read_file(path: Path, encoding: str | None = None) -> "Dataset":
    """The rows of a file.

    A table's first line names its columns; where that of a `.txt` with tabs is a sentence, they are called "0", "1" and
    so on. A `.txt` without tabs has a column `text`, a row a line. JSON may be an object a line, a list of objects, one
    that lies in an object (as `{"data": [...]}`), or an object of columns. A file of lines beside others of the same
    name that end in other languages' letters (`corpus.en`, `corpus.fr`, `corpus.pt_br.gz`) is read with those: a column
    each.

    Args:
        path: absolute; nothing in its name is a pattern.
        encoding: of a text file, if it is neither UTF-8 nor has a byte order mark.

    Raises:
        ValueError: if it is of a kind that is not read, or cannot be; the message names the first cause.
    """
    from datasets import Features, Value

    kind = kind_of(path)
    if kind is None:
        return _parallel(path, encoding)
    if kind in ("parquet", "arrow"):
        if path.suffix.lower() in COMPRESSED:
            raise ValueError(f"{path} is compressed twice. {ARCHIVE}.")
        check_beginning(path, {"parquet": "a Parquet file", "arrow": "an Arrow file"}[kind])
        _check_names(path, kind)
        return read_files([path], kind)
    name = text_encoding(path, encoding)
    if kind == "json":
        return _json(path, name)
    with opened(path, name) as file:
        first = first_row(file)
    if not first:
        raise ValueError(f"{path} has empty lines alone. Give a file with at least one row.")
    if kind == "text" and "\t" not in first:
        return read_files([path], "text", encoding=name)
    dialect = table_dialect(path, name, inner_suffix(path))
    options = {"names": dialect.names, "header": 0 if dialect.header else None, **dialect.options}
    if dialect.types:
        options["features"] = Features({name: Value(of) for name, of in zip(dialect.names, dialect.types, strict=True)})
    # "NA" and "None" are words; what is missing is empty.
    return read_files([path], "csv", encoding=name, keep_default_na=False, na_values=[""], **options)


def read_files(paths: Sequence[Path], kind: str, **options: Any) -> "Dataset":
    """The rows of files of one kind, read by the builder of `datasets` for it and kept in its cache.

    A file that was changed is read anew.

    Raises:
        ValueError: if one cannot be read, or there are no rows; the message names the first cause.
    """
    from datasets import DownloadConfig, load_dataset_builder
    from datasets.data_files import DataFilesList

    shown = str(paths[0]) if len(paths) == 1 else f"{paths[0]} or another of {len(paths)} files"
    marks: Any = [mark_of(path) for path in paths]
    try:
        # A list that is made already is taken as it is: a plain one would be taken for patterns.
        files = {"train": DataFilesList([_plain_name(path) for path in paths], marks)}
        again = DownloadConfig(force_extract=True)
        builder = load_dataset_builder(kind, data_files=files, download_config=again, **options)
        builder.download_and_prepare()
        rows = builder.as_dataset(split="train")
    except Exception as error:
        if _without_rows(paths, kind):
            raise ValueError(f"{shown} has no rows. Give a file with at least one.") from error
        cause = _json_cause(paths, kind) or first_cause(error)
        raise ValueError(f"{shown} cannot be read as {kind}: {cause}.") from error
    return rows


def mark_of(path: Path) -> tuple[str, ...]:
    """What tells a file from what it was: its time, its size, and what is in it; of a large one, its two ends."""
    state, sha = path.stat(), hashlib.sha256()
    with open(path, "rb") as file:
        sha.update(file.read(WHOLE))
        if state.st_size > WHOLE:
            file.seek(-min(BLOCK, state.st_size - WHOLE), os.SEEK_END)
            sha.update(file.read())
    return str(state.st_mtime_ns), str(state.st_size), sha.hexdigest()


def first_cause(error: BaseException) -> str:
    """What went wrong first, in one line: libraries wrap it in errors that say less."""
    message = str(error)
    while error.__cause__ is not None:
        error = error.__cause__
        message = str(error) or message
    return (" ".join(message.split()) or type(error).__name__).rstrip(".")


def _plain_name(path: Path) -> str:
    """A path as `datasets` can take it: `::` chains addresses there, and a compressed file's path becomes one."""
    from datasets import config

    if "::" not in str(path) and not (path.suffix.lower() in COMPRESSED and re.search(r"[^\w./ -]", str(path))):
        return str(path)
    # The same link each time, as the cache goes by it; each process makes it, at once.
    about = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    link = Path(config.HF_DATASETS_CACHE, "excise-links", about + "".join(path.suffixes[-2:]))
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f"{about}-{os.getpid()}-{get_ident()}")
    new.symlink_to(path)
    os.replace(new, link)
    return str(link)


def _without_rows(paths: Sequence[Path], kind: str) -> bool:
    """Whether files could be opened and hold no row, which the builders have errors of their own for."""
    import pyarrow.parquet as pq

    try:
        if kind == "parquet":
            return all(pq.ParquetFile(path).metadata.num_rows == 0 for path in paths)
        if kind == "json":
            small = [path for path in paths if path.stat().st_size < 64]
            return small == [*paths] and all(path.read_text("utf-8-sig").split() in (["[]"], ["{}"]) for path in small)
        if kind == "csv":
            for path in paths:
                with opened(path, text_encoding(path)) as file:
                    if len(list(islice((line for line in file if line.strip()), 2))) > 1:
                        return False
            return True
    except Exception:
        return False
    return False


def _check_names(path: Path, kind: str) -> None:
    """Refuses a file of Parquet with two columns of one name."""
    import pyarrow
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names if kind == "parquet" else []
    except (pyarrow.ArrowException, OSError):  # of a broken file the builder tells more
        return
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path} has more than one column {twice!r}. Give each a name of its own.")


def _json(path: Path, encoding: str) -> "Dataset":
    from datasets import Dataset

    with opened(path, encoding) as file:
        lines = list(islice((line for line in file if line.strip()), 2))
    if not lines:
        raise ValueError(f"{path} has empty lines alone. Give a file with at least one row.")
    if "".join(lines).lstrip("[ \t\r\n\ufeff").startswith("null"):
        _check_null(path, encoding, lines[0])
    if not lines[0].lstrip().startswith("{") or (len(lines) == 2 and _json_error(lines[0]) is None):
        return read_files([path], "json", encoding=encoding)
    with opened(path, encoding) as file:
        try:
            whole = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read as json: {error}.") from error
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    of_rows = [key for key, value in lists.items() if value and all(isinstance(row, dict) for row in value)]
    if len(of_rows) == 1:
        return read_files([path], "json", encoding=encoding, field=of_rows[0])
    if of_rows:
        raise ValueError(f"{path} holds several lists of rows, {', '.join(of_rows)}. Put one of them in a file alone.")
    if "columns" in lists or (whole and all(isinstance(v, dict) and all(map(str.isdigit, v)) for v in whole.values())):
        raise ValueError(
            f"{path} holds a table of pandas. Write it as rows: `to_json(path, orient='records', lines=True)`."
        )
    if whole and len(lists) == len(whole) and len({len(value) for value in lists.values()}) == 1:
        return Dataset.from_dict(whole)
    if inner_suffix(path) == ".json" and _are_columns(lists):
        left = ", ".join(repr(key) for key in whole if key not in lists)
        warnings.warn(
            f"{path} is read as the columns {', '.join(lists)}, and {left} beside them is left out. If it is one row, "
            "put it in a list.",
            stacklevel=2,
        )
        return Dataset.from_dict(lists)
    return read_files([path], "json", encoding=encoding)


def _are_columns(lists: dict[str, list]) -> bool:
    """Whether lists, beside something else in an object, are columns of texts: two at least, and of one length."""
    lengths = {len(value) for value in lists.values()}
    texts = [key for key, value in lists.items() if any(isinstance(text, str) for text in value)]
    return len(texts) >= 2 and len(lengths) == 1 and max(lengths) > 1


def _check_null(path: Path, encoding: str, first: str) -> None:
    """Refuses JSON whose first row is `null`, at which pyarrow breaks off with all of Python."""
    rows: Any = None
    if first.lstrip("\ufeff \t").startswith("["):
        with opened(path, encoding) as file, suppress(ValueError):
            rows = json.load(file)
    if not isinstance(rows, list) or any(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} has null for its first row, which names no columns. Take that row out.")


def _json_error(line: str) -> str | None:
    try:
        json.loads(line)
    except ValueError as error:
        return str(error)
    return None


def _json_cause(paths: Sequence[Path], kind: str) -> str | None:
    """The first line of a file of JSON lines that is none, or what is wrong with one of another form."""
    if kind != "json" or len(paths) > 1:
        return None
    try:
        with opened(paths[0], text_encoding(paths[0])) as file:
            start = file.read(64).lstrip("\ufeff \t\r\n")
        with opened(paths[0], text_encoding(paths[0])) as file:
            if start.startswith("["):
                json.load(file)
                return None
            for number, line in enumerate(file, 1):
                if line.strip() and (wrong := _json_error(line)):
                    return f"line {number} is no JSON, {wrong}"
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _parallel(path: Path, encoding: str | None) -> "Dataset":
    """Files of lines that go together, as OPUS has them."""
    from datasets import concatenate_datasets

    own = language_of(path)
    others = [(other, language_of(other)) for other in path.parent.iterdir() if own and other.is_file()]
    sides = sorted((language[1], other) for other, language in others if own and language and language[0] == own[0])
    if len(sides) > 1:
        names = [language for language, _ in sides]
        if twice := next((language for language in names if names.count(language) > 1), None):
            same = ", ".join(other.name for language, other in sides if language == twice)
            raise ValueError(f"{path} lies beside several files of the language {twice!r}, {same}. Keep one of them.")
        columns = [read_files([other], "text", encoding=text_encoding(other, encoding)) for _, other in sides]
        lengths = [len(rows) for rows in columns]
        if len(set(lengths)) > 1:
            counted = zip(sides[1:], lengths[1:], strict=True)
            more = "".join(f" and {side.name} {lines}" for (_, side), lines in counted)
            raise ValueError(f"{sides[0][1]} has {lengths[0]} lines{more}. Give files that go together line by line.")
        named = [rows.rename_column("text", language) for rows, language in zip(columns, names, strict=True)]
        return concatenate_datasets(named, axis=1)
    raise ValueError(f"{path} {why_unread(path)}.")
