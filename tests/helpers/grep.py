"""Search for strings in every byte of a folder, unpacked, written without anything of excise."""

import base64
import html
import io
import json
import re
import unicodedata
import zipfile
import zlib
from gzip import decompress
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet


def spellings(text: str) -> set[bytes]:
    """A text as programs write it: normal forms and escapes, all in small letters."""
    found = set()
    for form in ("NFC", "NFD", "NFKC"):
        for cased in (text, text.lower(), text.upper(), text.title(), text.casefold()):
            plain = unicodedata.normalize(form, cased)
            found |= {plain, html.escape(plain), plain.encode("ascii", "xmlcharrefreplace").decode()}
            found |= {json.dumps(plain)[1:-1], quote(plain), quote(plain, safe=""), repr(plain.encode())[2:-1]}
            found |= {"".join(f"&#x{ord(letter):x};" for letter in plain), re.sub(r"(\W)", r"\\\1", plain)}
    as_bytes = {one.encode() for one in found} | {text.encode("utf-16-le"), text.encode("utf-16-be")}
    for start in range(3):  # the letters of base64 that depend on nothing before or after
        coded = base64.b64encode(b"\0" * start + text.encode())
        certain = coded[4 if start else 0 : -4]
        as_bytes |= {certain} if len(certain) >= 6 else set()
    return {one.lower() for one in as_bytes if len(one) > 2}


def contents(folder: Path) -> dict[str, bytes]:
    """Each file of a folder with its name, and all that is packed in it, in small letters."""
    found = {}
    for path in Path(folder).rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and ".cache" not in path.parts:
            found[name] = (name.encode() + b"\n" + b"\n".join(_unpacked(path.read_bytes()))).lower()
    return found


def _unpacked(data: bytes) -> list[bytes]:
    parts = [data]
    if data[:4] == b"PAR1":
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        parts += [repr(table.schema.metadata).encode(), table.schema.to_string().encode()]
        parts += [repr(column.to_pylist()).encode() for column in table.columns]
    elif data[:2] == b"\x1f\x8b":
        parts += _unpacked(decompress(data))
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts += [part for name in archive.namelist() for part in [name.encode(), *_unpacked(archive.read(name))]]
    elif data[:4] == b"\x89PNG":
        for chunk in re.finditer(rb"(?:zTXt|iTXt|tEXt)(.{0,4000})", data, re.DOTALL):
            for start in re.finditer(rb"\x78[\x01\x9c\xda]", chunk[1][:200]):
                parts.append(zlib.decompressobj().decompress(chunk[1][start.start() :]))
    for run in re.findall(rb"[A-Za-z0-9+/]{24,}={0,2}", data):
        parts.append(base64.b64decode(run[: len(run) // 4 * 4]))
    return parts


def places(folder: Path, texts: list[str], leave_out: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The files in which any of some texts is found, and which one."""
    files = {name: data for name, data in contents(folder).items() if Path(name).name not in leave_out}
    return [
        (name, text)
        for text in texts
        for spelling in spellings(text)
        for name, data in files.items()
        if spelling in data
    ]
