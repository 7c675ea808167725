"""Erased embedding rows as an attacker sees them, and draws them anew."""

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel

from excise.ledger.embeddings import vocabulary_tables

# A row so near the mean of all, as a share of how far rows are from it, is no row of a word.
SEEN = 0.1


@torch.no_grad()
def seen_erased(model: PreTrainedModel) -> dict[str, list[int]]:
    """By embedding table, the rows that anyone sees to be erased: they are the mean of all."""
    seen: dict[str, list[int]] = {}
    for name, table in vocabulary_tables(model).items():
        far = (table.float() - table.float().mean(0)).norm(dim=1)
        rows = (far <= SEEN * far.square().mean().sqrt()).nonzero().flatten().tolist()
        seen |= {name: rows} if rows else {}
    return seen


@torch.no_grad()
def draw_anew(model: PreTrainedModel, rows: Mapping[str, Sequence[int]], seed: int) -> PreTrainedModel:
    """Writes rows of embedding tables anew, in place: at random, by the mean and deviation of each column."""
    generator = torch.Generator().manual_seed(seed)
    tables = vocabulary_tables(model)
    for name, numbers in rows.items():
        table = tables[name]
        drawn = torch.randn(len(numbers), table.shape[1], generator=generator).to(table)
        table[list(numbers)] = table.mean(0) + table.std(0) * drawn
    return model
