"""Bundles of tiny models, and what must be in none of their files."""

from pathlib import Path

import torch

from excise import Unlearner
from excise.erasure import ErasedRows
from excise.report import Record
from tests.tiny import codebook_t5, delete_codes, tokenizer

REPO = "tester/model"
CODES = (1, 2, 7)


def before():
    """The model before anything was deleted, the same at each call."""
    torch.manual_seed(7)
    return codebook_t5()


def write_bundle(folder: Path, model, mode="delete"):
    Unlearner(model, tokenizer()).save_pretrained(folder)
    (folder / "README.md").write_text("---\ntags: [excise]\n---\nText.\n")
    Record.of(model, mode=mode).save(folder / "report")
    return folder


def deleted(folder: Path, codes=CODES):
    """A model, what was erased of it, and its bundle."""
    model = before()
    erased = ErasedRows.of(model, {"encoder.block.2": codes})
    delete_codes(model, codes)
    return model, erased, write_bundle(folder, model)
