"""Kinds of data files, by their endings."""

import re
import zipfile
from pathlib import Path

from excise.data.text_files import COMPRESSED

KINDS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "text",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
READ = (
    "Parquet, CSV, TSV, JSON, JSON lines, Arrow and plain text are read, the texts among them with .gz, .bz2 or .xz too"
)
WORKBOOK = "Save its sheet as CSV in UTF-8"
ARCHIVE = "Unpack it, and give the file of data in it"
PYTHON = "Save its rows as Parquet, as `pandas.DataFrame.to_parquet` does"
IMAGE = "Give the folder of images, with one folder in it for each class"
DOCUMENT = "Save its texts as CSV or JSON lines"
ADVICE = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"), IMAGE),
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), WORKBOOK),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".zst", ".lz4", ".z"), ARCHIVE),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz", ".pt", ".h5", ".hdf5", ".db", ".sqlite", ".feather"), PYTHON),
    **dict.fromkeys(
        (".xml", ".tmx", ".html", ".htm", ".pdf", ".doc", ".docx", ".md", ".rtf", ".yaml", ".yml"), DOCUMENT
    ),
}
LANGUAGE = re.compile(r"\.[a-z]{2}([_-][A-Za-z]{2,4})?")
PROGRAMS = (".py", ".sh", ".js", ".rb", ".go", ".rs", ".cc")


def kind_of(path: Path) -> str | None:
    """The kind of a data file by its ending, without that of a compression; None where it tells none."""
    return KINDS.get(inner_suffix(path))


def inner_suffix(path: Path) -> str:
    """A file's ending in lower case, without that of a compression.

    >>> inner_suffix(Path("pairs.CSV.gz"))
    '.csv'
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def language_of(path: Path) -> tuple[str, str] | None:
    """The name of a file of lines before its language, and that; none if its ending is no language's."""
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSED else Path(path.name)
    unread = inner.suffix in ADVICE or inner.suffix in PROGRAMS or not LANGUAGE.fullmatch(inner.suffix)
    return None if unread else (inner.stem, inner.suffix[1:])


def why_unread(path: Path) -> str:
    """What to do with a file of a kind that is not read."""
    suffix = path.suffix.lower()
    advice = ADVICE.get(inner_suffix(path)) or ADVICE.get(suffix)
    if advice is None:
        ending = f"ends in {path.suffix!r}" if suffix else "has no ending"
        return f"{ending}, so that its kind is not known. {READ}: give it the ending of its kind"
    inside = ""
    if suffix == ".zip" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        inside = f" It holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}."
    return f"is of a kind that is not read, {suffix}. {advice}.{inside} {READ}"
