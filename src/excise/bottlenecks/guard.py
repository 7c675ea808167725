"""Guard of a bottleneck: codes that were removed stay removed, whatever loads, averages, moves or trains it."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from accelerate.utils import align_module_device
from torch import Tensor, nn

WHAT_TO_DO = (
    "The weights are of a state from before a request, or were changed after they were written. Load the whole model "
    "from one folder by `from_pretrained`."
)
# The bottlenecks with deleted codes, whose rows an optimizer must not move.
WITH_DELETED: WeakSet[Any] = WeakSet()


class MaskMismatchError(ValueError):
    """A model's masks are not those that its ledger tells of."""


@dataclass
class Removed:
    """What the ledger has removed from a bottleneck, for its guard.

    Args:
        live: the mask that it must have, bool `(num_codes,)`, on the CPU.
        deleted: codes whose rows must be zero, int64 `(deleted,)`.
        vouched: whether mask and rows were ever seen to be so. What differs later is put right; what was never right
            cannot be, since nobody knows the rest of what should have been loaded.
        for_a_while: whether the mask is that of a trial, in a context that has not ended.
        outside: what holds again when that context ends.
        at: the buffer that was seen, and its version, so that nothing is compared while nothing has changed.
        here: `live` on the bottleneck's device.
    """

    live: Tensor
    deleted: Tensor
    vouched: bool = False
    for_a_while: bool = False
    outside: "Removed | None" = None
    at: tuple[Tensor, int] | None = None
    here: Tensor | None = None

    def move(self, device: torch.device) -> None:
        """Keeps the mask on a bottleneck's device too."""
        self.here = None if device.type == "meta" else self.live.to(device)

    def on(self, device: torch.device) -> Tensor:
        """The mask on a device."""
        return (self.live if self.here is None else self.here).to(device)

    def __reduce__(self) -> tuple[type["Removed"], tuple[Tensor, Tensor, bool]]:
        """What a copy holds, which may be used when the trial has ended: what is removed outside of it."""
        held = self
        while held.outside is not None:
            held = held.outside
        return Removed, (held.live, held.deleted, held.vouched)


def watch(bottleneck: nn.Module) -> None:
    """Sets a bottleneck's guard: after its state is loaded, before it is read, and before a pass with another mask.

    Nothing is compared in compiled and exported graphs, nor while the mask is the tensor that it was: what the ledger
    has removed is not selected there either (`Bottleneck.in_force`), but nobody is warned.
    """
    bottleneck.register_forward_pre_hook(_before_forward)
    bottleneck.register_state_dict_pre_hook(before_reading)
    bottleneck.register_load_state_dict_post_hook(_after_loading)


@torch.no_grad()
def uphold(bottleneck: Any) -> None:
    """Puts a mask or erased rows right that are no longer, with a warning; nothing where all is right.

    Codes that are removed and should not be are left alone: that fails closed.

    Raises:
        MaskMismatchError: if they were never right, so that nobody knows what else is wrong.
    """
    removed: Removed | None = bottleneck.removed
    if removed is None:
        return
    with align_module_device(bottleneck):  # brings back what a device map has put on disk
        wrong = differences(bottleneck, removed)
        if wrong and not removed.vouched:
            raise MaskMismatchError(f"Removed codes are back: {wrong}. {WHAT_TO_DO}")
        if wrong:
            warnings.warn(
                f"Removed codes were back: {wrong}. Something loaded, averaged or wrote over them. The ledger's state "
                "is put in force again.",
                stacklevel=2,
            )
            bottleneck.live.logical_and_(removed.live.to(bottleneck.live.device))
            erase_rows(bottleneck, removed.deleted)
    removed.vouched = True
    removed.move(bottleneck.live.device)
    removed.at = _state_of(bottleneck)
    if len(removed.deleted):
        WITH_DELETED.add(bottleneck)


def warn_of_unknown(bottleneck: Any) -> bool:
    """Warns of removed codes that the ledger does not tell of: they stay removed, but the model cannot be saved so.

    Returns:
        Whether there are any.
    """
    removed: Removed | None = bottleneck.removed
    if removed is None or removed.for_a_while:
        return False
    if unknown := int((~bottleneck.live.cpu() & removed.live).sum()):
        warnings.warn(
            f"What was loaded has {unknown:,} removed codes that the ledger in the model's config does not tell of. "
            "They stay removed. To go on, or to save the model, take the config over too, by `from_pretrained`, or "
            "`model.config.unlearning = other.config.unlearning`.",
            stacklevel=2,
        )
    return bool(unknown)


def differences(bottleneck: Any, removed: Removed) -> str:
    """What came back of the codes that were removed, in words; empty if nothing did."""
    if bottleneck.live.shape != removed.live.shape:
        raise MaskMismatchError(
            f"The bottleneck has {len(bottleneck.live):,} codes, its ledger tells of {len(removed.live):,}. "
            f"{WHAT_TO_DO}"
        )
    wrong = []
    if back := int((bottleneck.live.cpu() & ~removed.live).sum()):
        wrong.append(f"{back:,} of {int((~removed.live).sum()):,} removed codes are live")
    wrong += [f"rows of deleted codes in {name} are not zero" for name in tensors_with(bottleneck, removed.deleted)]
    return " and ".join(wrong)


def tensors_with(bottleneck: Any, codes: Tensor) -> list[str]:
    """The names of the tensors in which rows of codes are not zero."""
    rows = {name: bottleneck.by_code(getattr(bottleneck, name))[codes] for name in bottleneck.code_tensors}
    return [name for name, of_codes in rows.items() if torch.count_nonzero(of_codes)]


@torch.no_grad()
def erase_rows(bottleneck: Any, codes: Tensor) -> None:
    """Sets the rows of codes to zero, and their gradients."""
    for name in bottleneck.code_tensors:
        tensor = getattr(bottleneck, name)
        bottleneck.by_code(tensor)[codes] = 0
        if tensor.grad is not None:
            bottleneck.by_code(tensor.grad)[codes] = 0
    bottleneck.rows_erased()


def check_buffers_loaded(bottleneck: nn.Module) -> None:
    """Refuses a bottleneck whose weights a device map has put on disk without the buffers beside them.

    Raises:
        MaskMismatchError: if so. Mask, mean and scale then have the values of a new bottleneck.
    """
    hook = getattr(bottleneck, "_hf_hook", None)
    for one in getattr(hook, "hooks", [hook]):
        weights: Mapping[str, Tensor] | None = getattr(one, "weights_map", None)
        try:
            if weights is not None:
                weights["live"]
        except KeyError:
            raise MaskMismatchError(
                "This bottleneck's weights were put on disk by accelerate, which left out its buffers: no mask is in "
                "force. Load it by `from_pretrained(folder, device_map=...)`, or give "
                "`load_checkpoint_and_dispatch` `offload_buffers=True`."
            ) from None


def _before_forward(bottleneck: Any, _: Any) -> None:
    if torch.compiler.is_compiling():
        return
    removed = bottleneck.removed
    if removed is None or _same(removed.at, _state_of(bottleneck)):
        return
    if not removed.vouched:
        check_buffers_loaded(bottleneck)
    if bottleneck.live.is_meta and (removed.vouched or not hasattr(bottleneck, "_hf_hook")):
        return  # it was right and is on disk since; or there is no data, and nothing is computed but shapes
    uphold(bottleneck)


def _after_loading(bottleneck: Any, _: Any) -> None:
    # A part of a model may be all that is loaded. What was never right may come in several files, and is seen later.
    if bottleneck.removed is not None and bottleneck.removed.vouched and not bottleneck.live.is_meta:
        uphold(bottleneck)


def before_reading(bottleneck: Any, *_: Any) -> None:
    """Upholds what was ever right, before a bottleneck's state is asked for or the whole of it is pickled."""
    # What was never right is about to be loaded: its state is asked for its names.
    tensors = [bottleneck.live, *(getattr(bottleneck, name) for name in bottleneck.code_tensors)]
    if bottleneck.removed is not None and bottleneck.removed.vouched and not any(tensor.is_meta for tensor in tensors):
        uphold(bottleneck)


def _state_of(bottleneck: Any) -> tuple[Tensor, int]:
    live = bottleneck.live
    return live, -1 if live.is_inference() else live._version


def _same(before: tuple[Tensor, int] | None, now: tuple[Tensor, int]) -> bool:
    return before is not None and before[0] is now[0] and before[1] == now[1] != -1
