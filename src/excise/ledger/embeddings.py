"""Embedding rows of a vocabulary that a ledger has erased: the mean of all others is written over them, and stays."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from excise.bottlenecks.guard import WHAT_TO_DO, MaskMismatchError

# How far an erased row may be from the mean, as a share of how far rows are from it: what rounding to bf16 makes of it.
ROUNDING = 0.05
# The modules with erased rows, which an optimizer must not move.
WITH_ERASED: WeakSet[Any] = WeakSet()


class ErasedTokens:
    """What the ledger has erased of a table, for the guard of the module that holds it.

    Args:
        rows: numbers of tokens, int64 `(rows,)`, on the CPU.
        vouched: whether these rows were ever seen to be erased. What comes back later is erased again; what was never
            right cannot be put right, since nobody knows what else is wrong.
    """

    def __init__(self, rows: Tensor, vouched: bool = False):
        self.rows, self.vouched = rows, vouched
        self.at: tuple[Tensor, int] | None = None  # the tensor that was seen, and its version
        self.value: Tensor | None = None  # what the rows were written over with, `(width,)`

    def __reduce__(self) -> tuple[type["ErasedTokens"], tuple[Tensor, bool]]:
        return ErasedTokens, (self.rows, self.vouched)


def vocabulary_tables(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The parameters of a model with a row for each token: input and output embeddings, once where they are tied.

    Args:
        model: any model of transformers; of one that reads no text there are none.

    Returns:
        By the name that the model gives them, `(vocabulary, width)`.
    """
    held = {id(module.weight) for module in vocabulary_modules(model)}
    base: Any = getattr(model, "get_base_model", lambda: model)()  # within an adapter of peft
    return {name: weight for name, weight in base.named_parameters() if id(weight) in held}


def vocabulary_modules(model: PreTrainedModel) -> list[Any]:
    """The modules that hold a table: embeddings, and heads that score each token; several where they are tied."""
    holders: dict[int, Any] = {}
    for part in model.modules():
        if not isinstance(part, PreTrainedModel):
            continue
        size = getattr(part.config.get_text_config(), "vocab_size", None)
        for ask in (part.get_input_embeddings, part.get_output_embeddings):
            try:
                outer = ask()
            except (AttributeError, NotImplementedError):  # as models without such embeddings say
                continue
            for module in outer.modules() if isinstance(outer, nn.Module) else ():
                weight = getattr(module, "weight", None)
                if not isinstance(module, nn.Embedding | nn.Linear) or not isinstance(weight, nn.Parameter):
                    continue
                if size and size <= len(weight) < size + 1024:  # some are padded
                    holders[id(module)] = module
    return list(holders.values())


@torch.no_grad()
def overwrite_rows(table: Tensor, rows: Tensor | Sequence[int]) -> Float[Tensor, "width"]:
    """Writes the mean of all other rows over some rows of a table, in place; their gradients are set to zero.

    The mean row says nothing of any token, and a head that scores by it finds it neither likely nor unlikely.

    Args:
        table: `(vocabulary, width)`.
        rows: numbers of tokens.

    Returns:
        The mean.

    Raises:
        ValueError: if no row would stay, or there is no such row.
    """
    rows = torch.as_tensor(rows, dtype=torch.long, device="cpu")
    if len(rows) >= len(table) or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(table)):
        raise ValueError(f"Rows {rows[:5].tolist()} ... of a table of {len(table)}: expected fewer, all from it.")
    rows = rows.to(table.device)
    mean = _mean_of_others(table, rows).to(table.dtype)
    table[rows] = mean
    if table.grad is not None:
        table.grad[rows] = 0
    return mean


def _mean_of_others(table: Tensor, rows: Tensor) -> Tensor:
    """The mean of the other rows, in fp32."""
    shares = torch.ones(len(table), device=table.device)
    shares[rows] = 0  # a product, not a difference: what the rows hold does not even change how it is rounded
    mean = shares @ table.float() / (len(table) - len(rows))
    if not mean.isfinite().all():  # what is zero times infinite is not zero
        mean = table[shares.bool()].float().mean(0)
    return mean


@torch.no_grad()
def rows_left(table: Tensor, rows: Tensor) -> list[int]:
    """Those of some rows that are not the mean of the others, up to rounding.

    Args:
        table: `(vocabulary, width)`.
        rows: numbers of tokens, int64.
    """
    if not len(rows) or table.is_meta or not table.is_floating_point():
        return []
    here = rows.to(table.device)
    mean = _mean_of_others(table, here)
    stays = torch.ones(len(table), dtype=torch.bool, device=table.device)
    stays[here] = False
    sample = table[stays][:4096].float()  # enough to know how far rows are from their mean
    deviation = (sample - mean).square().sum(1).mean().sqrt()
    rounded = torch.minimum(mean.norm() * torch.finfo(torch.bfloat16).eps / 4, deviation / 4)  # the mean itself
    near = (table[here].float() - mean).square().sum(1).sqrt() <= ROUNDING * deviation + rounded
    return rows[~near.cpu()].tolist()  # what is not a number is not near


@contextmanager
def erased_for_a_while(model: PreTrainedModel, rows: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """A context in which rows of a model's tables are erased; then they are as they were.

    Args:
        model: the model.
        rows: by the name of the table, numbers of tokens.
    """
    tables = {name: table for name, table in vocabulary_tables(model).items() if name in rows}
    with torch.no_grad():
        before = {name: table[list(rows[name])].clone() for name, table in tables.items()}
        for name, table in tables.items():
            overwrite_rows(table, rows[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, table in tables.items():
                table[list(rows[name])] = before[name]


def guard_tables(model: PreTrainedModel, erased: Mapping[str, Sequence[int]], vouched: bool | None = None) -> None:
    """Sets the guards of a model's tables: what is erased of them stays erased, whatever loads or trains them.

    Args:
        model: the model.
        erased: numbers of tokens by the name of the table.
        vouched: whether they are known to be erased; as each guard knows if not given.
    """
    known = vocabulary_tables(model)
    by_id = {id(known[name]): rows for name, rows in erased.items() if name in known}
    of_tables: dict[int, ErasedTokens] = {}
    for module in vocabulary_modules(model):
        rows = by_id.get(id(module.weight), ())
        before = getattr(module, "erased", None)
        if not rows and before is None:
            continue
        if before is None:
            module.register_forward_pre_hook(_before_look_up)
            module.register_state_dict_pre_hook(_erase_what_was_erased)
            module.register_load_state_dict_post_hook(_erase_what_was_erased)
        was = bool(before and before.vouched) if vouched is None else vouched
        new = ErasedTokens(torch.tensor(rows, dtype=torch.long, device="cpu"), was)
        if before is not None and torch.equal(before.rows, new.rows):
            new.value = before.value
        module.erased = of_tables.setdefault(id(module.weight), new)  # one for all that hold it: they renew one mean
        WITH_ERASED.add(module)


def uphold_tables(model: PreTrainedModel) -> None:
    """Erases rows again that came back, with a warning, and renews the mean.

    Raises:
        MaskMismatchError: if they were never erased.
    """
    for module in vocabulary_modules(model):
        if getattr(module, "erased", None) is not None:
            _erase_again(module)


@torch.no_grad()
def _erase_again(module: Any) -> None:
    erased: ErasedTokens = module.erased
    table = module.weight
    if table.is_meta or not len(erased.rows):
        return
    here = erased.rows.to(table.device)
    as_written = erased.value is not None and bool((table[here] == erased.value.to(table)).all())  # the others moved
    if not as_written and (left := rows_left(table, erased.rows)):
        if not erased.vouched:
            raise MaskMismatchError(f"{len(left)} erased embedding rows are back. {WHAT_TO_DO}")
        warnings.warn(
            f"{len(left)} erased embedding rows were back. Something loaded, averaged or wrote over them. They are "
            "erased again.",
            stacklevel=2,
        )
    erased.value, erased.vouched = overwrite_rows(table, erased.rows), True
    erased.at = _version_of(table)
    WITH_ERASED.add(module)  # of a copy, too


@torch.no_grad()
def restore_rows(module: Any) -> None:
    """Writes over a module's erased rows again what was written last; the mean is renewed when the state is read."""
    erased: ErasedTokens = module.erased
    if erased.value is None or module.weight.is_meta:
        return
    module.weight[erased.rows.to(module.weight.device)] = erased.value.to(module.weight)
    erased.at = _version_of(module.weight)


def _version_of(table: Tensor) -> tuple[Tensor, int]:
    return table, -1 if table.is_inference() else table._version


def _before_look_up(module: Any, _: Any) -> None:
    if torch.compiler.is_compiling():
        return
    at, now = module.erased.at, _version_of(module.weight)
    if at is None or at[0] is not now[0] or at[1] != now[1] or now[1] == -1:
        _erase_again(module)


def before_pickling(model: PreTrainedModel) -> None:
    """Erases rows again that came back, before the whole of a model is copied or pickled."""
    for module in vocabulary_modules(model):
        if getattr(module, "erased", None) is not None:
            _erase_what_was_erased(module)


def _erase_what_was_erased(module: Any, *_: Any) -> None:
    if module.erased.vouched:
        _erase_again(module)


def upheld_tables(model: PreTrainedModel, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tables of a state that is to be saved in place of the model's own, with erased rows erased, where they are not.

    Args:
        model: whose guards tell what is erased.
        state: tensors by the model's names, such as an average.
    """
    clones: dict[int, Tensor] = {}  # of tables that go by several names
    back = False
    for name, module in model.named_modules(remove_duplicate=False):
        erased = getattr(module, "erased", None)
        table = state.get(f"{name}.weight")
        if not isinstance(erased, ErasedTokens) or not len(erased.rows) or table is None or table.is_meta:
            continue
        back = back or bool(rows_left(table, erased.rows))
        if table.data_ptr() not in clones:
            clones[table.data_ptr()] = table.detach().clone()
            overwrite_rows(clones[table.data_ptr()], erased.rows)  # an average keeps a trace where nothing is seen
        if not torch.equal(clones[table.data_ptr()], table):
            yield f"{name}.weight", clones[table.data_ptr()]
    if back:
        warnings.warn("The state to save has embedding rows that were erased. They are erased in it.", stacklevel=4)
