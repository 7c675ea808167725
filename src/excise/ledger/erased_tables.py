"""Tables of a vocabulary from which a ledger erases rows: which a model has now, and that the rows are erased there."""

import gc
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn
from transformers import PreTrainedModel

from excise.bottlenecks.guard import WHAT_TO_DO, MaskMismatchError
from excise.ledger.embeddings import rows_left, vocabulary_modules, vocabulary_tables
from excise.ledger.ledger import Ledger

# What peft puts into the names of a model's own tables.
WRAPPERS = re.compile(r"\.(base_layer|original_module|modules_to_save\.[^.]+)(?=\.)")


def rows_by_table(model: PreTrainedModel, rows: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Rows that a ledger names, by the tables that the model has now: a token goes from all of them.

    A head that was untied since has a table of its own, and one that was tied has none.

    Args:
        model: the model.
        rows: numbers of tokens by the names of tables, at the time of the request.

    Raises:
        ValueError: if the model reads by other tables alone, has no such row, or no other row would stay.
    """
    tokens = sorted(set().union(*rows.values()))
    tables = vocabulary_tables(model) if tokens else {}
    if not tables:  # of a part that reads no text, such as a vision tower, nothing is erased
        return {}
    if not {_own(name) for name in rows} & {_own(name) for name in tables}:
        raise ValueError(f"The ledger names rows of {sorted(rows)[:5]}; the model has {sorted(tables)}.")
    size = min(map(len, tables.values()))
    if not 0 <= tokens[0] <= tokens[-1] < size or len(tokens) >= size:
        raise ValueError(
            f"The ledger names {len(tokens)} rows, {tokens[0]} to {tokens[-1]}, of {sorted(tables)}; "
            f"expected fewer than there are, all from 0 to {size - 1}."
        )
    return {name: list(tokens) for name in tables}


def _own(name: str) -> str:
    return WRAPPERS.sub("", name)


def check_tables(model: PreTrainedModel, ledger: Ledger) -> None:
    """Makes sure that a model's erased rows are erased.

    Args:
        model: the model; what a device map has put on disk is looked at, too.
        ledger: it tells which rows are, and which would be.

    Raises:
        MaskMismatchError: if one is not, or there is no such table or row.
        ValueError: as `check_no_adapter`.
    """
    try:
        rows_by_table(model, ledger.rows_of(("mask",)))
        erased = rows_by_table(model, ledger.erased_rows())
    except ValueError as error:
        raise MaskMismatchError(f"{error} {WHAT_TO_DO}") from error
    if not erased:
        return
    check_no_adapter(model)
    rows = torch.tensor(next(iter(erased.values())), dtype=torch.long)
    names, seen = {id(table): name for name, table in vocabulary_tables(model).items()}, set()
    for module in vocabulary_modules(model):
        if id(module.weight) in seen:
            continue
        seen.add(id(module.weight))
        name = names.get(id(module.weight), "a table")
        with align_module_device(module):
            if left := rows_left(module.weight, rows):
                raise MaskMismatchError(f"{len(left)} of {len(rows)} erased rows of {name} are back. {WHAT_TO_DO}")


def check_no_adapter(model: PreTrainedModel) -> None:
    """Makes sure that no adapter adds to a table of which rows are erased.

    Raises:
        ValueError: if one does, such as LoRA on embeddings: what it adds to an erased row says what the row was.
    """
    holders = {id(module) for module in vocabulary_modules(model)}
    for name, module in model.named_modules():
        if id(getattr(module, "base_layer", None)) in holders:
            raise ValueError(
                f"An adapter adds to the embeddings {name}, also to rows that are erased. Merge it first, as by "
                "`merge_and_unload`, or take it off; or delete with depth='codes'."
            )


def check_erasable_rows(model: PreTrainedModel, erased: Mapping[str, Sequence[int]]) -> None:
    """Makes sure that rows of a model's tables can be erased.

    Args:
        model: the model.
        erased: what `rows_by_table` gave.

    Raises:
        ValueError: if another model in memory reads by a table: it would lose the rows, too; or if a table holds
            numbers that have no mean, an adapter adds to it, or a device map has put it on disk.
    """
    if erased:
        check_no_adapter(model)
    tables = vocabulary_tables(model)
    if on_disk := [name for name in erased if tables[name].is_meta]:
        raise ValueError(f"A device map has put {on_disk} on disk, where nothing can be erased. Load without it.")
    due = {name: rows for name, rows in erased.items() if rows_left(tables[name], torch.tensor(rows))}
    check_own_tables(model, due)
    for name, rows in due.items():
        others = torch.ones(len(tables[name]), dtype=torch.bool)
        others[rows] = False
        if not tables[name][others.to(tables[name].device)].isfinite().all():
            raise ValueError(
                f"{name} holds numbers that are not finite, so its erased rows cannot be made the mean of the others. "
                "Load a sound copy of the model; or take depth='codes'."
            )


def check_own_tables(model: PreTrainedModel, erased: Mapping[str, Sequence[int]]) -> None:
    """Makes sure that no other model in memory reads by the tables of which rows are to be erased.

    Raises:
        ValueError: if one does: it would lose the rows, too.
    """
    tables = vocabulary_tables(model)
    own = {id(module._parameters) for module in model.modules()}
    for name in erased:
        for held in gc.get_referrers(tables[name]):
            if not isinstance(held, dict) or id(held) in own or not any(v is tables[name] for v in held.values()):
                continue
            if any(_is_module_of(owner, held) for owner in gc.get_referrers(held)):
                raise ValueError(
                    f"{name} is a parameter of another model in memory too, which would lose the rows that are to be "
                    "erased. Load the model from its folder, or make a deep copy of it first; or take depth='codes'."
                )


def _is_module_of(owner: Any, parameters: Any) -> bool:
    state = owner if isinstance(owner, dict) else vars(owner) if isinstance(owner, nn.Module) else {}
    return state.get("_parameters") is parameters
