"""Passes that count codes: shared by the processes of a run, and resumed from a checkpoint by one after a kill."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from excise.codes.counts import CodeCounts, PairedCounts
from excise.data.batches import RowBatch, RowBatches
from excise.models.activations import computing
from excise.storage.digests import digest
from excise.storage.display import printable, shortened
from excise.storage.shared_pass import shared_pass
from excise.storage.strict_json import checked, parsed

# Seconds from one writing of a checkpoint to the next.
SECONDS = 60.0
# The key of what a checkpoint is of, in the metadata of its files.
METADATA = "excise.checkpoint"
# What a file is called while it is written.
PARTIAL = re.compile(r"\.[0-9a-f]{32}\.safetensors\.partial")

Counts = TypeVar("Counts", CodeCounts, PairedCounts)


@dataclass
class _Part:
    """What one process has counted.

    Args:
        totals: the counts, by site.
        batches: which they are of: the number of each, and the bits of the digest of its window of a stream.
        saved: when they were last written.
    """

    totals: dict[str, Any]
    batches: dict[int, int] = field(default_factory=dict)
    saved: float = field(default_factory=time.monotonic)


def checked_index(index: Any) -> Any:
    """An index of codes, or none, as it was given.

    Raises:
        ValueError: if it is something else, such as the path of one.
    """
    if index is not None and not callable(getattr(index, "ranks", None)):
        given = shortened(printable(repr(index)))
        raise ValueError(f"index={given}: expected a CodeIndex. Of one in a folder, give `CodeIndex.load(path)`.")
    return index


def folder_in(checkpoint: str | os.PathLike | None, name: str) -> Path | None:
    """The checkpoint of one pass of several; none where there is none of the whole."""
    return None if checkpoint is None else Path(checkpoint, name)


def counted(
    model: PreTrainedModel,
    batches: RowBatches,
    settings: Mapping[str, Any],
    empty: Callable[[], dict[str, Counts]],
    step: Callable[[dict[str, Counts], RowBatch], dict[str, Counts]],
    checkpoint: str | os.PathLike | None = None,
) -> dict[str, Counts]:
    """The counts of all batches, whichever process of a run counts which.

    Args:
        model: whose codes are counted.
        batches: the rows.
        settings: all else that the counts depend on, as JSON values; `function` names the pass.
        empty: counts of nothing.
        step: adds a batch to counts.
        checkpoint: a folder to keep counts in.

    Raises:
        ValueError: if the checkpoint is of another run, or a stream differs from what was read before.
    """

    def about() -> dict[str, Any]:
        return {**settings, "data": batches.digest(), "model": computing(model)}

    if checkpoint is None:
        return shared_pass(about, batches, empty, step, _added_up, batches.seen)
    kept = Checkpoint(Path(checkpoint), {**settings, "data": batches.digest(), "model": _digest(model)})
    earlier = kept.earlier(empty)
    part = _Part({})

    def begin() -> _Part:
        nonlocal part
        part = _Part(empty())
        return part

    def step_of_part(part: _Part, batch: RowBatch) -> _Part:
        part.totals = step(part.totals, batch)
        part.batches[batch.number] = _bits(batch.window)
        if time.monotonic() - part.saved > SECONDS:
            kept.keep(part)
        return part

    def parts_added_up(parts: Sequence[_Part]) -> _Part:
        return _Part(_added_up([each.totals for each in parts]))

    def shared() -> dict[str, Any]:
        return {**about(), "folder": os.fspath(kept.folder), "earlier": sorted(earlier.batches)}

    left = _Left(batches, earlier.batches, kept.folder)
    rest = shared_pass(shared, left, begin, step_of_part, parts_added_up, batches.seen)
    if part.batches:
        kept.keep(part)
    return _added_up([earlier.totals, rest.totals])


@dataclass
class _Left:
    """The batches that were not counted before."""

    batches: RowBatches
    earlier: Mapping[int, int]
    folder: Path

    def __iter__(self) -> Iterator[RowBatch]:
        count = 0
        for batch in self.batches:
            count = batch.number + 1
            if batch.number not in self.earlier:
                yield batch
            elif self.earlier[batch.number] != _bits(batch.window):
                raise ValueError(
                    f"{self.folder} holds counts of other rows than the stream has now, in batch {batch.number}. Give "
                    "the same stream as then, in the same order, to go on with it, or another folder."
                )
        if any(number >= count for number in self.earlier):
            raise ValueError(
                f"{self.folder} holds counts of more than the {count} batches that the stream has now. Give the "
                "same stream as then to go on with it, or another folder."
            )


@dataclass
class Checkpoint:
    """A folder with what the processes of a run, and of earlier ones, have counted: a file of each.

    A file is there whole or not at all. Files add up; one of the same batches as another is left out. One run at a time
    writes to a folder.

    Args:
        folder: where they are, made if it is not there.
        about: what is counted, as JSON values.
    """

    folder: Path
    about: Mapping[str, Any]
    name: str = field(default_factory=lambda: f"{uuid4().hex}.safetensors")

    def earlier(self, empty: Callable[[], dict[str, Any]]) -> _Part:
        """What was counted before: one process reads it, for all, and makes one file of it.

        Raises:
            ValueError: if it is of another run, or a file holds no counts.
        """

        def read(nothing: _Part, _: Any) -> _Part:
            if self.folder.exists() and not self.folder.is_dir():
                raise ValueError(
                    f"{self.folder} is a file, and a checkpoint is a folder. Give a folder, or a new name."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            files = sorted(self.folder.glob("*.safetensors"))
            parts = sorted((self._read(path, empty) for path in files), key=lambda part: -len(part.batches))
            for path in self.folder.glob(".*.partial"):
                if PARTIAL.fullmatch(path.name):  # one that was killed while it wrote left it
                    path.unlink()
            found = nothing
            for part in parts:
                if found.batches.keys().isdisjoint(part.batches):
                    totals = _added_up([found.totals, part.totals])
                    found = _Part(totals, found.batches | part.batches)
            if len(files) > 1:
                Checkpoint(self.folder, self.about).keep(found)
                for path in files:
                    path.unlink(missing_ok=True)
            return found

        about = {"function": "a checkpoint", "of": dict(self.about), "folder": os.fspath(self.folder)}
        return shared_pass(lambda: about, [None], lambda: _Part(empty()), read, lambda parts: parts[0])

    def keep(self, part: _Part) -> None:
        """Writes what this process has counted, in place of what it wrote before; every process writes its own."""
        tensors = {f"{site}/{name}": t for site, counts in part.totals.items() for name, t in _tensors(counts).items()}
        tensors["batches"] = torch.tensor(list(part.batches.items()), dtype=torch.int64)
        partial = self.folder / f".{self.name}.partial"
        save_file(tensors, partial, {METADATA: json.dumps(self.about)})
        partial.replace(self.folder / self.name)
        part.saved = time.monotonic()

    def _read(self, path: Path, empty: Callable[[], dict[str, Any]]) -> _Part:
        try:
            with safe_open(path, "pt") as file:
                about = checked(parsed((file.metadata() or {}).get(METADATA, "{}"), os.fspath(path)), dict, METADATA)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        except SafetensorError as error:
            raise ValueError(
                f"{path} cannot be read ({error}). Remove it, and its batches are counted again."
            ) from error
        own = json.loads(json.dumps(self.about))
        if other := [name for name in {**own, **about} if own.get(name) != about.get(name)]:
            raise ValueError(
                f"{path} holds counts of another run: {', '.join(other)} differ. Give the same arguments as then to "
                "go on with it, or another folder."
            )
        wanted = {f"{site}/{name}": t for site, counts in empty().items() for name, t in _tensors(counts).items()}
        batches = tensors.get("batches")
        if (
            batches is None
            or batches.numel() % 2
            or any(name not in tensors or tensors[name].shape != wanted[name].shape for name in wanted)
        ):
            raise ValueError(f"{path} lacks some of its counts. Remove it, and its batches are counted again.")
        totals = {
            site: _of_tensors(counts, {name: tensors[f"{site}/{name}"] for name in _tensors(counts)})
            for site, counts in empty().items()
        }
        return _Part(totals, dict(batches.reshape(-1, 2).tolist()))


def _added_up(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = parts
    totals = dict(first)
    for other in others:
        totals = {site: counts + other[site] for site, counts in totals.items()}
    return totals


def _tensors(counts: CodeCounts | PairedCounts) -> dict[str, Tensor]:
    if isinstance(counts, CodeCounts):
        return {"examples": counts.examples, "num_examples": torch.tensor([counts.num_examples])}
    assert counts.both is not None  # counts without pairs are made of two passes
    parts = {"target": counts.target, "control": counts.control}
    apart = {f"{which}.{name}": t for which, part in parts.items() for name, t in _tensors(part).items()}
    return {**apart, "both": counts.both}


def _of_tensors(like: CodeCounts | PairedCounts, tensors: Mapping[str, Tensor]) -> CodeCounts | PairedCounts:
    if isinstance(like, CodeCounts):
        return CodeCounts(tensors["examples"], int(tensors["num_examples"]))
    target, control = (
        CodeCounts(tensors[f"{which}.examples"], int(tensors[f"{which}.num_examples"]))
        for which in ("target", "control")
    )
    return PairedCounts(target, control, tensors["both"])


def _bits(window: str) -> int:
    return int(window[:15] or "0", 16)


def _digest(model: PreTrainedModel) -> str:
    state = model.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        raise ValueError(
            "A device map has put weights on disk, so that a checkpoint cannot tell the model from others. Leave "
            "`checkpoint` out, or load the model whole."
        )
    return digest({name: value for name, value in computing(model).items() if name != "weights"}, state)
