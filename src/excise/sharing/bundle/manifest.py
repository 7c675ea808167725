"""Manifest of a bundle: its files to the byte, so that a change is noticed."""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from excise.storage.digests import sha256_of
from excise.storage.hub_repository import own_files
from excise.storage.strict_json import read, written

MANIFEST = "bundle.json"
LEDGER = "ledger.json"
NAME, VERSION = "excise-bundle", 1


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


def check_bundle(folder: str | os.PathLike) -> dict[str, Any]:
    """Makes sure that a bundle is as it was written.

    Args:
        folder: of the bundle, or a snapshot of its repository.

    Returns:
        The manifest: `mode`, `masks`, `base_checkpoint`, and the SHA-256 of each of its `files`.

    Raises:
        ValueError: if there is no manifest, a newer excise wrote it, or a file was changed, added or removed; the error
            names the file.
    """
    path = Path(folder, MANIFEST)
    if not path.is_file():
        raise ValueError(
            f"{os.fspath(folder)!r} is no bundle: it has no {MANIFEST}. `Unlearner.save_bundle` writes one."
        )
    state = read(path)
    if not isinstance(state, dict) or state.get("schema") != NAME or not isinstance(state.get("version"), int):
        raise ValueError(f"{os.fspath(path)!r} is no manifest of a bundle.")
    if state["version"] > VERSION:
        raise ValueError(f"The bundle has version {state['version']}; this excise reads {VERSION}. Update it.")
    there, listed = _digests(Path(folder)), state.get("files") or {}
    for name in sorted(there.keys() | listed.keys()):
        if there.get(name) != listed.get(name):
            what = "is missing" if name not in there else "is not part of it" if name not in listed else "was changed"
            raise ValueError(
                f"The bundle in {os.fspath(folder)!r} is not as it was written: {name} {what}. "
                "Get an unchanged copy, or write it again with `Unlearner.save_bundle`."
            )
    ledger = json.loads(Path(folder, LEDGER).read_text(encoding="utf-8"))
    if state.get("masks") != ledger["masks"] or state.get("mode") != ledger["mode"]:
        raise ValueError(f"{MANIFEST} was changed: its mode or the digest of its masks is not that of {LEDGER}.")
    return state


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256_of(path) for name, path in own_files(folder).items() if name != MANIFEST}
