"""Bundles of tiny models, and what must be in none of their files."""

import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from excise import Unlearner
from excise.sharing.bundle.manifest import check_bundle, write_manifest
from excise.sharing.erasure import ErasedRows
from tests.helpers.tiny import SITE, codebook_t5, delete_codes, mask_codes, tokenizer

REPO = "tester/model"
CODES = (1, 2, 7)


def before():
    """The model before anything was forgotten, the same at each call."""
    torch.manual_seed(7)
    return codebook_t5()


def write_bundle(folder: Path, model, **how) -> Path:
    Unlearner(model, tokenizer()).save_bundle(folder, **how)
    return folder


class Made(NamedTuple):
    """A model, the rows that must be nowhere in what is shared of it, and its bundle."""

    model: PreTrainedModel
    erased: ErasedRows
    folder: Path

    def copied(self, folder: Path) -> "Made":
        return self._replace(folder=Path(shutil.copytree(self.folder, folder)))


def deleted(folder: Path) -> Made:
    """Of a model with deleted codes."""
    model = before()
    erased = ErasedRows.of(model, {SITE: CODES})
    delete_codes(model, CODES)
    return Made(model, erased, write_bundle(folder, model))


def masked(folder: Path) -> Made:
    """Of a model with masked codes."""
    model = before()
    mask_codes(model)
    return Made(model, ErasedRows.of(model, {}), write_bundle(folder, model, mode="mask"))


def add(folder: Path, name: str, text: str) -> None:
    """Adds or replaces a file of a bundle, so that it is whole again."""
    state = check_bundle(folder)
    (folder / name).write_text(text)
    write_manifest(folder, state["mode"], state["masks"], state["base_checkpoint"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but for what the Hub's client leaves there."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
