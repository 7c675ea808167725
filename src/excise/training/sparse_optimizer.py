"""Optimizer of key-value pairs that touches the rows which a batch read: sparse gradients in an ordinary `Trainer`."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainingArguments
from transformers.training_args import OptimizerNames

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.storage.expected import expects

VECTOR_NORM = "aten::linalg_vector_norm"


@expects("model", "args")
def sparse_optimizer(model: PreTrainedModel, args: TrainingArguments) -> torch.optim.Optimizer:
    """An optimizer that touches the values that a batch read and no others: `Trainer(optimizers=(it, None))`.

    With many classes the values of key-value pairs are gigabytes, of which a batch reads a small part. Their gradient
    becomes sparse, and a step takes time and memory by what was read. The moments of a row are those of the steps that
    read it (`torch.optim.SparseAdam`), where Adam's fade at every step.

    A `Trainer` takes the norm of all gradients at each step, for which torch has no sparse kernel; one is registered.

    Args:
        model: a key-value model, all of whose trained weights are values; its bottleneck's `sparse_gradients` is set.
        args: its learning rate, betas and epsilon are used. `optim="sgd"` gives `torch.optim.SGD`, which has no memory
            besides; all kinds of Adam give `SparseAdam`, whose moments are twice as large as the values.

    Raises:
        ValueError: if the model has other weights that are trained, or `args` ask for another optimizer or for weight
            decay, which is of all rows.
    """
    bottlenecks = [module for module in model.modules() if isinstance(module, KeyValueBottleneck)]
    values = [bottleneck.values for bottleneck in bottlenecks]
    others = [name for name, p in model.named_parameters() if p.requires_grad and not any(p is v for v in values)]
    if not values or others:
        what = f"trains {others[0]} and {len(others) - 1} more" if others else "has none"
        raise ValueError(f"A sparse optimizer trains values of key-value pairs alone; {type(model).__name__} {what}.")
    if args.weight_decay:
        raise ValueError(
            f"weight_decay={args.weight_decay}: decay is of every row, and a sparse gradient has those that were read. "
            "Set it to 0."
        )
    kind = OptimizerNames(args.optim).value
    if kind == OptimizerNames.SGD.value:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(values, args.learning_rate)
    elif kind.startswith("adam"):
        betas = (args.adam_beta1, args.adam_beta2)
        optimizer = torch.optim.SparseAdam(values, args.learning_rate, betas, args.adam_epsilon)
    else:
        raise ValueError(f"optim={kind!r} has no sparse kind. Give 'sgd', or 'adamw_torch' for SparseAdam.")
    _register_norm()
    if not torch.sparse.check_sparse_tensor_invariants.is_enabled():
        torch.sparse.check_sparse_tensor_invariants.disable()  # as it is: torch warns where nobody has said so
    for bottleneck in bottlenecks:
        if not bottleneck.sparse_gradients:
            bottleneck.values.register_post_accumulate_grad_hook(_coalesce)
        bottleneck.sparse_gradients = True
    return optimizer


def _coalesce(parameter: nn.Parameter) -> None:
    """Says of a gradient that its rows are in order, each once, which torch forgets; puts them so if they are not."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse or gradient.is_coalesced():
        return
    indices = gradient._indices()
    rows = indices[0] * parameter.shape[1] + indices[1]
    if (rows[1:] > rows[:-1]).all():
        options: dict[str, Any] = {"check_invariants": False, "is_coalesced": True}
        parameter.grad = torch.sparse_coo_tensor(indices, gradient._values(), gradient.shape, **options)
    else:  # of several accumulated batches
        parameter.grad = gradient.coalesce()


@cache
def _register_norm() -> list[torch.library.Library]:
    """Registers the norm of a sparse tensor with torch, where it has none; kept as long as the process."""
    known = torch._C._dispatch_has_kernel_for_dispatch_key
    missing = [key for key in ("SparseCPU", "SparseCUDA") if not known(VECTOR_NORM, key)]
    library = torch.library.Library("aten", "IMPL")
    for key in missing:
        library.impl(VECTOR_NORM, _vector_norm, key)
    return [library]


def _vector_norm(
    tensor: Tensor, order: float = 2.0, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """The norm of all numbers of a sparse tensor; zeros add nothing to one of a positive order."""
    if dim is not None or keepdim or order <= 0:
        raise NotImplementedError(f"The norm of a sparse tensor is of all its numbers; got dim={dim}, order={order}.")
    return torch.linalg.vector_norm(tensor.coalesce().values(), order, dtype=dtype)
