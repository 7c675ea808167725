"""Optimizer state of erased rows, cleared with them: it would bring them back at the next step."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.guard import WITH_DELETED
from excise.ledger.embeddings import WITH_ERASED, restore_rows, vocabulary_tables

# Those that have made a step in this process.
STEPPED: WeakSet[Optimizer] = WeakSet()
# Of these, what is remembered of all parameters lies in one row with the first parameter's state.
FLAT = ("LBFGS",)


@torch.no_grad()
def clear_optimizer_rows(optimizer: Optimizer, bottleneck: Bottleneck, codes: Tensor, columns: bool = True) -> None:
    """Sets an optimizer's memory of some codes to zero.

    Args:
        optimizer: it is changed in place.
        bottleneck: whose codes they are.
        codes: their ids, `(codes,)`.
        columns: also what Adafactor remembers of columns, over all codes together. It builds up again as from its first
            step, and its clipping bounds the steps meanwhile.
    """
    for parameter in code_parameters(bottleneck):
        _clear_rows(optimizer, parameter, bottleneck.num_codes, codes, columns)


def _clear_rows(optimizer: Optimizer, parameter: nn.Parameter, num_rows: int, rows: Tensor, columns: bool) -> None:
    for name, value in optimizer.state.get(parameter, {}).items():
        kind = _kind(name, value, parameter)
        if kind == "rows":
            value.view(num_rows, -1)[rows] = 0
        elif kind == "columns" and columns:
            value.zero_()


def check_clearable(optimizer: Optimizer, bottleneck: Bottleneck) -> None:
    """Makes sure that `clear_optimizer_rows` will do what it says.

    Raises:
        ValueError: if the optimizer does not train the bottleneck's codes, or keeps what it remembers in a form in
            which rows cannot be erased: quantised, projected, or flat.
    """
    for parameter in code_parameters(bottleneck):
        if id(parameter) not in _parameters(optimizer):
            raise ValueError("The optimizer does not train this model's codes. Give the one that does, or none.")
        _check_clearable(optimizer, parameter)


def _check_clearable(optimizer: Optimizer, parameter: nn.Parameter) -> None:
    name = _name(optimizer)
    if name in FLAT:
        raise ValueError(f"{name} keeps the past steps of all weights in one row, in which codes cannot be erased.")
    for key, value in optimizer.state.get(parameter, {}).items():
        if _kind(key, value, parameter) is None:
            what = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value)
            raise ValueError(f"{name} keeps {key!r} as {what}, in which rows cannot be erased.")


def clearable_optimizers(
    sites: Mapping[str, Bottleneck], optimizer: Optimizer | None = None, model: PreTrainedModel | None = None
) -> list[tuple[str, Optimizer]]:
    """The optimizers that train a model's codes, each with a site: those that have made steps in this process.

    Args:
        sites: the model's bottlenecks.
        optimizer: one more, which need not have made a step.
        model: whose embedding rows are to be erased, too; optimizers that train them are checked.

    Raises:
        ValueError: as `check_clearable`.
    """
    of_sites = []
    for site, bottleneck in sites.items():
        codes = {id(parameter) for parameter in code_parameters(bottleneck)}
        known = [stepped for stepped in STEPPED if codes & _parameters(stepped)]
        of_sites += [(site, one) for one in (*known, *([] if optimizer is None else [optimizer]))]
    for site, one in of_sites:
        check_clearable(one, sites[site])
    for table in vocabulary_tables(model).values() if model is not None else ():
        for one in (*STEPPED, *([] if optimizer is None else [optimizer])):
            if id(table) in _parameters(one):
                _check_clearable(one, table)
    return of_sites


def clear_optimizers(
    optimizers: Sequence[tuple[str, Optimizer]], sites: Mapping[str, Bottleneck], codes: Mapping[str, Sequence[int]]
) -> None:
    """Sets what optimizers remember of codes to zero; the first argument is what `clearable_optimizers` returned.

    What they and all that have made a step remember of rows that guards know to be erased goes, too.
    """
    for site, optimizer in optimizers:
        clear_optimizer_rows(optimizer, sites[site], torch.tensor(codes.get(site, ())).long())
    for optimizer in {id(one): one for one in (*STEPPED, *(one for _, one in optimizers))}.values():
        _clear_deleted(optimizer)


def code_parameters(bottleneck: Bottleneck) -> list[nn.Parameter]:
    """The parameters of a bottleneck that hold something of each code, and that an optimizer trains."""
    tensors = (getattr(bottleneck, name) for name in bottleneck.code_tensors)
    return [tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]


@torch.no_grad()
def _after_step(optimizer: Optimizer, *_: Any) -> None:
    """Keeps the rows of deleted codes zero, which momentum would move, and what is remembered of them."""
    if optimizer not in STEPPED:
        STEPPED.add(optimizer)
        optimizer.register_state_dict_pre_hook(_clear_deleted)  # an older state may have been loaded since
    _clear_deleted(optimizer)


@torch.no_grad()
def _clear_deleted(optimizer: Optimizer) -> None:
    trained = _parameters(optimizer) if WITH_DELETED or WITH_ERASED else set()
    for bottleneck in list(WITH_DELETED):
        codes = bottleneck.removed.deleted
        for parameter in code_parameters(bottleneck):
            if id(parameter) in trained:
                bottleneck.by_code(parameter)[codes] = 0
                clear_optimizer_rows(optimizer, bottleneck, codes, columns=False)
    for module in list(WITH_ERASED):
        if id(module.weight) in trained and len(rows := module.erased.rows):
            restore_rows(module)
            _clear_rows(optimizer, module.weight, len(module.weight), rows, columns=False)


register_optimizer_step_post_hook(_after_step)


def _kind(name: str, value: Any, parameter: nn.Parameter) -> str | None:
    """How a part of an optimizer's state belongs to rows: `"rows"`, `"columns"`, `"none"`; `None` where unknown."""
    if value is None or isinstance(value, int | float | bool | str):
        return "none"
    if type(value) not in (Tensor, nn.Parameter):
        return None
    if value.numel() == 1:
        return "none"
    shape, of_rows = tuple(parameter.shape), tuple(parameter.shape[:-1])
    if not value.is_floating_point():
        return None
    if "col" in name and tuple(value.shape) in ((*shape[:-2], *shape[-1:]), (*shape[:-2], 1, *shape[-1:])):
        return "columns"
    return "rows" if tuple(value.shape) in (shape, of_rows, (*of_rows, 1)) else None


def _parameters(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def _name(optimizer: Any) -> str:
    return type(getattr(optimizer, "optimizer", optimizer)).__name__  # accelerate wraps it
