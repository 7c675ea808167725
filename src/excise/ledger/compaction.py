"""Compaction: deleted codes taken out of a model, so that it and its files are smaller."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import bottleneck_settings, codes_id, set_codes_id
from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from excise.ledger.ledger import Ledger, Request
from excise.ledger.masks import deleted_codes, guard
from excise.ledger.packing import pack, unpack


@torch.no_grad()
def compact(model: PreTrainedModel) -> dict[str, Tensor]:
    """Takes the rows of deleted codes out of a model's bottlenecks and numbers the others anew.

    What the model computes stays the same. All codebooks stay of one size, that of the largest: smaller ones keep some
    of their erased rows. Masks can still be undone. Deletions stay in the ledger, with those of their codes that are
    still there, and the number of those taken out. An optimizer, a selection or a count that was made before knows the
    old numbers: make it anew, or renumber it by what is returned. As codes of other numbers, they get another id.

    Args:
        model: a model with bottlenecks; changed in place.

    Returns:
        By site, the new number of each old code, int64 `(old num_codes,)`, -1 for those that are gone.
    """
    sites, ledger = bottlenecks(model), Ledger.from_dict(model.config.unlearning)
    kept = _kept(sites, ledger)
    index = {}
    for site, rows in kept.items():
        index[site] = torch.full((sites[site].num_codes,), -1)
        index[site][rows] = torch.arange(len(rows))
    if all(len(rows) == sites[site].num_codes for site, rows in kept.items()):
        return index
    smaller = Ledger(
        tuple(
            replace(
                request,
                codes={site: _renumbered(codes, index[site]) for site, codes in request.codes.items()},
                thresholds=_taken_out(request, index),
            )
            for request in ledger.requests
        )
    )
    for site, copies in bottleneck_copies(model).items():
        for bottleneck in copies:
            _take_rows(bottleneck, kept[site])
    (size,) = {len(rows) // sites[site].num_groups for site, rows in kept.items()}
    for settings in bottleneck_settings(model):
        settings.resize(size)
    set_codes_id(model, _renamed(codes_id(sites), kept))
    model.config.unlearning = smaller.to_dict(smaller.live(bottlenecks(model)))
    guard(model, vouched=True)
    return index


def _kept(sites: Mapping[str, Bottleneck], ledger: Ledger) -> dict[str, Tensor]:
    """The codes that stay at each site: those that are not deleted, and as many more as make codebooks of one size."""
    deleted = {}
    for site, bottleneck in sites.items():
        gone = torch.zeros(bottleneck.num_codes, dtype=torch.bool)
        gone[deleted_codes(ledger, site)] = True
        deleted[site] = gone.view(bottleneck.num_groups, -1)
    size = max(int((~gone).sum(1).max()) for gone in deleted.values())
    kept = {}
    for site, gone in deleted.items():
        # The codes that live come first in each codebook, then the deleted ones; in each part in their own order.
        order = gone.int().argsort(dim=1, stable=True)[:, :size].sort(dim=1).values
        kept[site] = (order + torch.arange(len(gone))[:, None] * gone.shape[1]).flatten()
    return kept


def _renumbered(codes: tuple[int, ...], index: Tensor) -> tuple[int, ...]:
    found = index[torch.tensor(codes).long()]
    return tuple(found[found >= 0].tolist())


def _taken_out(request: Request, index: Mapping[str, Tensor]) -> dict[str, Any]:
    """A request's thresholds, with the number of its codes that are no longer there, and its rounds renumbered."""
    thresholds = dict(request.thresholds)
    if "rounds" in thresholds:
        thresholds["rounds"] = [
            {**one, "codes": {site: pack(_renumbered(unpack(ids), index[site])) for site, ids in one["codes"].items()}}
            for one in thresholds["rounds"]
        ]
    gone = sum(int((index[site][torch.tensor(ids).long()] < 0).sum()) for site, ids in request.codes.items())
    gone += request.taken_out
    return thresholds | ({"taken_out": gone} if gone else {})


def _take_rows(bottleneck: Bottleneck, rows: Tensor) -> None:
    for name in bottleneck.code_tensors:
        tensor = getattr(bottleneck, name)
        flat = bottleneck.by_code(tensor)
        taken = flat[rows.to(tensor.device)]
        if len(tensor) != bottleneck.num_codes:  # codebook by codebook
            taken = taken.reshape(bottleneck.num_groups, -1, *tensor.shape[2:])
        else:
            taken = taken.reshape(-1, *tensor.shape[1:])
        trained = isinstance(tensor, nn.Parameter)
        setattr(bottleneck, name, nn.Parameter(taken, requires_grad=tensor.requires_grad) if trained else taken)
    bottleneck.live = bottleneck.live[rows.to(bottleneck.live.device)]


def _renamed(name: str | None, kept: Mapping[str, Tensor]) -> str:
    """The id of codes with new numbers: the same for the same codes, so that a bundle has the same bytes again."""
    sha = hashlib.sha256(str(name).encode())
    for site, rows in sorted(kept.items()):
        sha.update(site.encode() + rows.numpy().tobytes())
    return sha.hexdigest()[:32]
