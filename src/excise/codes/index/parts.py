"""Parts of a code index: Arrow files of the codes of some sentences, and the manifest that lists them."""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from excise.codes.index.origin import ANEW, Origin
from excise.storage.digests import sha256_of
from excise.storage.display import printable, shortened
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, checked_fields, read, written

MANIFEST = "code_index.json"
FORMAT_VERSION = 1
PART = re.compile(r"part-\d{4,}-\d{6,}\.arrow")
# Sentences of a record batch, each compressed by itself: a query reads the batches that its sentences are in.
BATCH = 1024
METADATA = b"excise.code_index"
# Parts that are open at once; others are opened when they are read.
OPEN = 64
# A token's codes stand beside one another, sentences in the order of the corpus: tokens whose neighbours are the same
# have the same codes in the same order, which zstd finds. Planes of bytes and columns of ranks take more.
COMPRESSION = "zstd"
LEVEL = 3


class Ranked(NamedTuple):
    """The codes of the tokens of some sentences, at every site.

    Args:
        keys: digests of the sentences' token ids, `(sentences, 2)`.
        lengths: tokens of each.
        codes: by site, `(tokens, depth)`, most similar first.
        similar: by site, how many codes of each token, from the first, are similar enough to be passed on.
    """

    keys: np.ndarray
    lengths: np.ndarray
    codes: Mapping[str, np.ndarray]
    similar: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """A file of an index, as its manifest knows it.

    Attributes:
        name: of the file.
        texts: number of its sentences.
        tokens: number of their tokens.
        bytes: of the file.
        sha256: of the file.
    """

    name: str
    texts: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All that an index is, but for its parts.

    Attributes:
        origin: the model and the tokenizer.
        max_top_s: the largest S' that it was made for.
        depth: ranks that are stored.
        parts: its files.
        data: digests of what was indexed, and how many rows of it had a text.
    """

    origin: Origin
    max_top_s: int
    depth: int
    parts: tuple[Part, ...] = ()
    data: tuple[Mapping[str, Any], ...] = field(default=())

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """The manifest of a folder.

        Raises:
            ValueError: if it holds no index, or one that was cut short or changed.
        """
        path = folder / MANIFEST
        if not path.is_file():
            if is_unfinished(folder):
                raise ValueError(f"The code index in {folder} is not finished. Build it again: it goes on from there.")
            raise ValueError(f"{folder} holds no code index ({MANIFEST} is missing). Build one: `CodeIndex.build`.")
        state = checked(read(path), dict[str, Any], MANIFEST)
        if state.get("version") != FORMAT_VERSION:
            version = shortened(printable(repr(state.get("version"))))
            raise ValueError(f"{folder} has format {version}; this excise reads {FORMAT_VERSION}. {ANEW}.")
        for name, kind in {"max_top_s": int, "depth": int, "parts": list[dict], "data": list[dict[str, Any]]}.items():
            checked(state.get(name), kind, f"{name} in {MANIFEST}")
        parts = tuple(Part(**checked_fields(part, Part)) for part in state["parts"])
        if not 1 <= state["max_top_s"] <= state["depth"]:
            raise ValueError(
                f"{path} has max_top_s {state['max_top_s']} and depth {state['depth']}, and no index has. {ANEW}."
            )
        if any(not PART.fullmatch(part.name) for part in parts):
            raise ValueError(f"{path} names a file that no index has. {ANEW}.")
        origin = Origin.from_dict(state.get("origin"))
        return cls(origin, state["max_top_s"], state["depth"], parts, tuple(state["data"]))

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return {
            "version": FORMAT_VERSION,
            "max_top_s": self.max_top_s,
            "depth": self.depth,
            "data": [dict(of) for of in self.data],
            "parts": [vars(part) for part in self.parts],
            "origin": self.origin.to_dict(),
        }


@by_main_process("folder")
def commit(
    folder: Path, manifest: Manifest, parts: Sequence[tuple[Path, dict[str, Any]]], data: dict[str, Any]
) -> None:
    """Writes the manifest of a folder, which makes new parts count, and removes what counts for nothing.

    Args:
        folder: of the index.
        manifest: as it was.
        parts: that were written since, and what each is of.
        data: digest of what they are of, and its number of rows.

    Raises:
        ValueError: if the folder has others.
    """
    if other := [path.name for path, about in parts if not is_there(path, about)]:
        raise ValueError(f"{folder} has other parts than were written ({other[0]}): does another run write there too?")
    new = tuple(part for path, _ in parts if (part := PartFile(path).described()).texts)
    if new or data not in manifest.data:
        manifest = replace(manifest, parts=manifest.parts + new, data=(*manifest.data, data))
    text, path = written(manifest.to_dict()) + "\n", folder / MANIFEST
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        # A finished index may be read-only: with nothing new, all that it lacks is a word of what was looked through.
        with nullcontext() if new else suppress(OSError), new_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    known = {part.name for part in manifest.parts}
    for path in folder.iterdir():
        if path.name not in known and (PART.fullmatch(path.name) or path.name.startswith(".part-")):
            path.unlink(missing_ok=True)


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds parts of an index, whole or half written, and nothing else."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return bool(names) and all(PART.fullmatch(name) or name.startswith(".part-") for name in names)


def is_there(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether a part was written, whole and of just this."""
    try:
        found = PartFile(path).about
    except ValueError:
        return False
    return {name: found.get(name) for name in about} == about


def write_part(path: Path, ranked: Ranked, about: Mapping[str, Any]) -> None:
    """Writes a part, which takes its name only when all is written. Every process writes parts of its own.

    Args:
        path: of the part.
        ranked: what is in it.
        about: what it is of, to be told from others when a build that was killed goes on.
    """
    sites = list(ranked.codes)
    depth = ranked.codes[sites[0]].shape[1]
    kinds = [("text", pa.binary(16))]
    for i, site in enumerate(sites):
        of_code, number = (pa.from_numpy_dtype(of[site].dtype) for of in (ranked.codes, ranked.similar))
        kinds += [(f"codes-{i}", pa.list_(pa.list_(of_code, depth))), (f"similar-{i}", pa.list_(number))]
    schema = pa.schema(kinds, metadata={METADATA: json.dumps({**about, "sites": sites})})
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec(COMPRESSION, LEVEL))
    bounds = np.concatenate([[0], np.cumsum(ranked.lengths)])
    partial = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.arrow")
    try:
        with pa.OSFile(os.fspath(partial), "wb") as stream, pa.ipc.new_file(stream, schema, options=options) as writer:
            for start in range(0, len(ranked.lengths), BATCH):
                end = min(start + BATCH, len(ranked.lengths))
                tokens, offsets = slice(bounds[start], bounds[end]), bounds[start : end + 1] - bounds[start]
                starts = pa.array(offsets.astype(np.int32))
                columns = [pa.array([key.tobytes() for key in ranked.keys[start:end]], pa.binary(16))]
                for site in sites:
                    codes = pa.FixedSizeListArray.from_arrays(pa.array(ranked.codes[site][tokens].ravel()), depth)
                    similar = pa.array(ranked.similar[site][tokens])
                    columns += [pa.ListArray.from_arrays(starts, codes), pa.ListArray.from_arrays(starts, similar)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class PartFile:
    """A part that is read where it lies, a record batch at a time.

    Args:
        path: of the part.
        part: what the manifest knows of it; nothing of a build that goes on.

    Raises:
        ValueError: if the file is missing, cut short, or no part of an index.
    """

    def __init__(self, path: Path, part: Part | None = None):
        self.path, self.part = path, part
        self._checked = False
        if not path.is_file() or (part is not None and path.stat().st_size != part.bytes):
            raise ValueError(f"{path} is missing, or is not as it was written. {ANEW}.")
        try:
            _, reader = self._opened()
            self.about = checked(json.loads(reader.schema.metadata[METADATA]), dict[str, Any], "A part")
            self.sites = checked(self.about["sites"], list[str], "A part's sites")
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no part of a code index ({shortened(str(error))}). {ANEW}.") from error
        self.num_batches = reader.num_record_batches

    def _opened(self) -> tuple[Any, Any]:
        """The file and its reader, kept open until so many others were read since."""
        opened = _open.pop(self, None)
        if opened is None:
            source = pa.memory_map(os.fspath(self.path))
            opened = source, pa.ipc.open_file(source)
        _open[self] = opened
        while len(_open) > OPEN:
            _open.pop(next(iter(_open.keys())), None)
        return opened

    def keys(self) -> list[np.ndarray]:
        """The digests of each record batch's sentences, `(sentences, 2)`; nothing else is read."""
        only = pa.ipc.IpcReadOptions(included_fields=[0])
        reader = self._read(lambda: pa.ipc.open_file(self._opened()[0], options=only))
        batches = [self._read(lambda i=i: reader.get_batch(i).column(0)) for i in range(self.num_batches)]
        return [
            np.frombuffer(of.buffers()[1], "<u8", 2 * len(of), 16 * of.offset).reshape(-1, 2).copy() for of in batches
        ]

    def batch(self, number: int) -> Ranked:
        """A record batch.

        Raises:
            ValueError: if the part is not as it was written.
        """
        if not self._checked and self.part is not None and sha256_of(self.path) != self.part.sha256:
            raise ValueError(f"{self.path} is not as it was written: its digest is another. {ANEW}.")
        self._checked = True
        return self._read(lambda: self._ranked(self._opened()[1].get_batch(number)))

    def _ranked(self, batch: pa.RecordBatch) -> Ranked:
        lengths, codes, similar = np.zeros(0, np.int64), {}, {}
        for i, site in enumerate(self.sites):
            lists = batch.column(f"codes-{i}")
            lengths = np.diff(lists.offsets.to_numpy())
            codes[site] = lists.values.values.to_numpy().reshape(-1, lists.type.value_type.list_size)
            similar[site] = batch.column(f"similar-{i}").values.to_numpy()
        return Ranked(np.zeros((len(lengths), 2), np.uint64), lengths, codes, similar)

    def described(self) -> Part:
        """The part, as a manifest is to know it."""
        batches = [self.batch(number) for number in range(self.num_batches)]
        texts, tokens = sum(len(of.lengths) for of in batches), sum(int(of.lengths.sum()) for of in batches)
        return Part(self.path.name, texts, tokens, self.path.stat().st_size, sha256_of(self.path))

    def _read(self, call: Any) -> Any:
        try:
            return call()
        except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} cannot be read: {shortened(str(error))}. {ANEW}.") from error


# The parts that are open, the one that was read last at the end.
_open: WeakKeyDictionary[PartFile, tuple[Any, Any]] = WeakKeyDictionary()


def keys_of(input_ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Digests of token ids, which is a text as a model is given it: `(texts, 2)`, 128 bits each."""
    digests = [hashlib.blake2b(np.asarray(ids, "<i4").tobytes(), digest_size=16).digest() for ids in input_ids]
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
