"""Masks that a ledger puts in force, erased rows, and the state in the model's config."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.guard import MaskMismatchError, Removed, erase_rows, tensors_with, uphold
from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from excise.ledger.embeddings import guard_tables, overwrite_rows, upheld_tables, uphold_tables, vocabulary_tables
from excise.ledger.erased_tables import check_erasable_rows, check_tables, rows_by_table
from excise.ledger.ledger import Ledger, mask_digest


def enforce(model: PreTrainedModel, ledger: Ledger) -> None:
    """Makes a ledger a model's own. All is worked out, and may fail, before anything is changed.

    Args:
        model: a model with bottlenecks; the rows of deleted codes, and their gradients, are set to zero in all copies.
        ledger: the requests that are to be in force.

    Raises:
        ValueError: if the ledger names sites or codes that there are not, leaves too few codes, or cannot be saved; or
            a trial has not ended, which would put its own masks back.
    """
    _check_no_trial(model)
    masks = ledger.live(bottlenecks(model))
    rows_by_table(model, ledger.rows_of(("mask",)))
    erased, tables = rows_by_table(model, ledger.erased_rows()), vocabulary_tables(model)
    state = ledger.to_dict(masks)
    check_erasable_rows(model, erased)
    for site, copies in bottleneck_copies(model).items():
        for bottleneck in copies:
            bottleneck.live.copy_(masks[site])
            erase_rows(bottleneck, deleted_codes(ledger, site))
    for name, rows in erased.items():
        overwrite_rows(tables[name], rows)
    model.config.unlearning = state
    guard(model, vouched=True)
    for copies in bottleneck_copies(model).values():
        for bottleneck in copies:
            uphold(bottleneck)
    uphold_tables(model)


def guard(model: PreTrainedModel, vouched: bool | None = None) -> None:
    """Tells the guards of a model's bottlenecks what the ledger in its config has removed.

    Args:
        model: a model with bottlenecks.
        vouched: whether masks and rows are known to be so; as each guard knows if not given.

    Raises:
        MaskMismatchError: if the ledger does not fit the model.
    """
    try:
        ledger = Ledger.from_dict(model.config.unlearning)
        masks = ledger.live(bottlenecks(model))
        erased = rows_by_table(model, ledger.erased_rows())
    except ValueError as error:
        raise MaskMismatchError(f"The ledger does not fit the model: {error}") from error
    guard_tables(model, erased, vouched)
    for site, copies in bottleneck_copies(model).items():
        for bottleneck in copies:
            was = bottleneck.removed.vouched if vouched is None and bottleneck.removed else bool(vouched)
            bottleneck.removed = Removed(masks[site], deleted_codes(ledger, site), was)


def uphold_masks(model: PreTrainedModel) -> None:
    """Puts masks and erased rows that something has lifted in force again, with a warning, in all copies.

    Raises:
        MaskMismatchError: if they are another model's or of another state than the ledger, so that nobody knows what
            is right, or are those of a trial that has not ended.
    """
    _check_no_trial(model)
    copies = [bottleneck for copies in bottleneck_copies(model).values() for bottleneck in copies]
    known = [(bottleneck, bottleneck.removed) for bottleneck in copies]
    try:
        guard(model)
        for bottleneck in copies:
            uphold(bottleneck)
        uphold_tables(model)
        check_model(model)
    except MaskMismatchError:  # a config that was refused disarms no guard
        for bottleneck, removed in known:
            if removed and bottleneck.removed and (bottleneck.removed.live & ~removed.live).any():
                bottleneck.removed = removed
        raise


def _check_no_trial(model: PreTrainedModel) -> None:
    copies = [bottleneck for copies in bottleneck_copies(model).values() for bottleneck in copies]
    if any(bottleneck.removed is not None and bottleneck.removed.for_a_while for bottleneck in copies):
        raise MaskMismatchError("The masks are those of a trial or lifted for a while. Leave that context first.")


def upheld_state(model: PreTrainedModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state that is to be saved in place of a model's own, such as an average, with its masks and erased rows.

    Args:
        model: its masks are in force, and are checked.
        state: tensors by the model's names; tensors that are right are not copied.

    Raises:
        MaskMismatchError: if the state has removed codes that the ledger does not tell of.
    """
    upheld = {**state, **dict(upheld_tables(model, state))}
    for name, bottleneck in model.named_modules():
        if not isinstance(bottleneck, Bottleneck) or bottleneck.removed is None:
            continue
        live, removed = upheld.get(f"{name}.live"), bottleneck.removed
        if live is not None and not live.is_meta and not torch.equal(live.cpu(), removed.live):
            if (~live.cpu() & removed.live).any():
                raise MaskMismatchError(f"The state to save has removed codes at {name} that the ledger does not know.")
            upheld[f"{name}.live"] = removed.live.to(live.device)
        for tensor_name in bottleneck.code_tensors:
            tensor = upheld.get(f"{name}.{tensor_name}")
            if tensor is not None and not tensor.is_meta and bottleneck.by_code(tensor)[removed.deleted].any():
                upheld[f"{name}.{tensor_name}"] = tensor.detach().clone()
                bottleneck.by_code(upheld[f"{name}.{tensor_name}"])[removed.deleted] = 0
        if any(upheld[key] is not state[key] for key in state if key.startswith(f"{name}.")):
            warnings.warn(
                f"The state to save has removed codes at {name}. They are removed in what is saved.", stacklevel=3
            )
    return upheld


def check_model(model: PreTrainedModel) -> None:
    """Makes sure that a model's masks, erased codes and erased embedding rows are those its ledger tells of.

    Args:
        model: a model with bottlenecks, whose config holds the ledger.

    Raises:
        MaskMismatchError: if they are not.
    """
    sites = bottlenecks(model)  # raises where there are none
    check_masks(model.config.unlearning, sites)
    check_tables(model, Ledger.from_dict(model.config.unlearning))


def check_masks(state: Mapping[str, Any] | None, sites: Mapping[str, Bottleneck]) -> None:
    """Makes sure that a model's masks and erased codes are those its ledger tells of: a mask fails closed.

    Args:
        state: the ledger in the model's config, `None` for a model that was never asked to forget.
        sites: its bottlenecks.

    Raises:
        MaskMismatchError: if they are not.
    """
    try:
        ledger = Ledger.from_dict(state)
        expected = ledger.live(sites)
    except ValueError as error:
        raise MaskMismatchError(f"The ledger does not fit the model: {error}") from error
    actual = {site: bottleneck.live.cpu() for site, bottleneck in sites.items()}
    for site, mask in actual.items():
        if not torch.equal(mask, expected[site]):
            raise MaskMismatchError(
                f"{site} has {int((~mask).sum())} removed codes, its ledger tells of {int((~expected[site]).sum())}, "
                f"and they differ at {int((mask != expected[site]).sum())}: the checkpoint was changed after it was "
                "written, or its files are of two models. Load an unchanged copy."
            )
        with align_module_device(sites[site]):  # brings back what a device map has put on disk
            if left := tensors_with(sites[site], deleted_codes(ledger, site)):
                raise MaskMismatchError(f"Codes of {site} were deleted, but rows of its {left[0]} are not zero.")
    if state is not None and state.get("digest") != mask_digest(actual):
        raise MaskMismatchError("The masks do not have the digest that the ledger was written with.")


@contextmanager
def masks_for_a_while(model: PreTrainedModel, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """A context in which other masks are in force; the ledger stays as it is."""
    before = {
        bottleneck: (bottleneck.live.clone(), bottleneck.removed)
        for copies in bottleneck_copies(model).values()
        for bottleneck in copies
    }
    for site, copies in bottleneck_copies(model).items():
        for bottleneck in copies:
            bottleneck.live.copy_(masks[site])
            deleted = bottleneck.removed.deleted if bottleneck.removed else torch.tensor([], dtype=torch.long)
            bottleneck.removed = Removed(masks[site].cpu(), deleted, True, for_a_while=True, outside=bottleneck.removed)
    try:
        yield
    finally:
        for bottleneck, (live, removed) in before.items():
            bottleneck.live.copy_(live)
            bottleneck.removed = removed


def deleted_codes(ledger: Ledger, site: str) -> Tensor:
    """The codes of a site that requests have deleted, int64 `(deleted,)`."""
    return torch.tensor(ledger.removed(site, kinds=("delete",)), dtype=torch.long, device="cpu")
