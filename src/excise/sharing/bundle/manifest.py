"""Manifest of a bundle: its files to the byte, so that a change is noticed."""

import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from excise.models.base_checkpoint import BaseCheckpoint
from excise.sharing.bundle.private_search import PrivateSearch
from excise.storage.digests import sha256_of
from excise.storage.display import printable, shortened
from excise.storage.expected import expects
from excise.storage.hub_repository import own_files
from excise.storage.strict_json import checked, read, written

MANIFEST = "bundle.json"
LEDGER = "ledger.json"
NAME, VERSION = "excise-bundle", 1
KINDS = {"mode": str, "masks": str, "base_checkpoint": dict[str, Any] | None, "files": dict[str, str]}


def write_manifest(folder: Path, mode: str, masks: str, base: dict[str, Any] | None) -> None:
    """Adds the manifest to a bundle, as the last of its files.

    Args:
        folder: with all other files.
        mode: `"mask"` or `"delete"`.
        masks: digest of the masks.
        base: the base checkpoint, of bottlenecks alone.
    """
    about = {"schema": NAME, "version": VERSION, "excise": version("excise"), "mode": mode, "masks": masks}
    state = about | {"base_checkpoint": base, "files": _digests(folder)}
    folder.joinpath(MANIFEST).write_text(written(state) + "\n", encoding="utf-8")


@expects("folder")
def is_bundle(folder: str | os.PathLike) -> bool:
    """Whether a folder is a bundle, which has a manifest."""
    return Path(folder, MANIFEST).is_file()


@expects("folder")
def check_bundle(folder: str | os.PathLike, private_topics: Iterable[Any] = ()) -> dict[str, Any]:
    """Makes sure that a bundle is as it was written, and that private words and texts are in none of its files.

    Args:
        folder: of the bundle, or a snapshot of its repository.
        private_topics: what is looked for: sets of private topics, records with the full evidence, or words.

    Returns:
        The manifest: `mode`, `masks`, `base_checkpoint`, and the SHA-256 of each of its `files`.

    Raises:
        ValueError: if there is no manifest, a newer excise wrote it, or a file was changed, added or removed, or holds
            something private; the error names the file.
    """
    path = Path(folder, MANIFEST)
    if not path.is_file():
        raise ValueError(
            f"{os.fspath(folder)!r} is no bundle: it has no {MANIFEST}. `Unlearner.save_bundle` writes one."
        )
    state = read(path)
    if not isinstance(state, dict) or state.get("schema") != NAME or type(state.get("version")) is not int:
        raise ValueError(f"{os.fspath(path)!r} is no manifest of a bundle.")
    if state["version"] > VERSION:
        newer = shortened(state["version"])
        raise ValueError(f"The bundle has version {newer}; this excise reads {VERSION}. Update it.")
    if lost := sorted(KINDS.keys() - state.keys()):
        raise ValueError(f"{os.fspath(path)!r} is no manifest of a bundle: it lacks {lost}.")
    for key, kind in KINDS.items():
        checked(state[key], kind, f"{key} in {MANIFEST}")
    if state["base_checkpoint"] is not None:
        BaseCheckpoint.of(state)
    there, listed = _digests(Path(folder)), state["files"]
    for name in sorted(there.keys() | listed.keys()):
        if there.get(name) != listed.get(name):
            what = "is missing" if name not in there else "is not part of it" if name not in listed else "was changed"
            raise ValueError(
                f"The bundle in {os.fspath(folder)!r} is not as it was written: {printable(name)} {what}. "
                "Get an unchanged copy, or write it again with `Unlearner.save_bundle`."
            )
    if LEDGER not in listed:
        raise ValueError(f"The bundle in {os.fspath(folder)!r} has no {LEDGER}, which every bundle has.")
    ledger = checked(read(Path(folder, LEDGER)), dict[str, Any], LEDGER)
    if state["masks"] != ledger.get("masks") or state["mode"] != ledger.get("mode"):
        raise ValueError(f"{MANIFEST} was changed: its mode or the digest of its masks is not that of {LEDGER}.")
    PrivateSearch(private_topics).check(folder)
    return state


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256_of(path) for name, path in own_files(folder).items() if name != MANIFEST}
