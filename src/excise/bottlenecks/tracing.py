"""Trace of a forward pass: the outputs of a model's bottlenecks, and the padding that they leave out."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.utils.output_capturing import CompileableContextVar

from excise.bottlenecks.base import BottleneckOutput


@dataclass
class Trace:
    """The outputs of the bottlenecks by site, and what they are to respect: padding, and where texts begin.

    Args:
        attention_mask: `(batch, seq)`, 0 at padding.
        first: bool `(batch, seq)`, the first token of each text; `None` where a model has no rule for those.
        outputs: by site.
        counted: by site, which of its tokens have codes, `(batch, seq)`, 0 at padding and where a text begins; `None`
            where all have.
    """

    attention_mask: Tensor | None = None
    first: Tensor | None = None
    outputs: dict[str, BottleneckOutput] = field(default_factory=dict)
    counted: dict[str, Tensor | None] = field(default_factory=dict)


_current = CompileableContextVar("excise_trace")


@contextmanager
def trace(attention_mask: Tensor | None = None, first: Tensor | None = None) -> Iterator[Trace]:
    """Collects what the bottlenecks put out inside the context.

    The trace is in the hands of the caller and not on a module: modules stay free of graph tensors, two threads do
    not mix, and when activation checkpointing runs a layer again in the backward pass nothing counts twice.

    Args:
        attention_mask: `(batch, seq)`, 0 at padding, which then has code -1 and counts in no loss.
        first: bool `(batch, seq)`, where a text begins; a bottleneck that holds a `first_token` passes that on there.

    Example:
        with trace(batch["attention_mask"]) as traced:
            model.get_encoder()(**batch)
        traced.outputs["encoder.block.2"].codes  # (batch, seq, top_s)
    """
    inner = Trace(attention_mask, first)
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)


def current_trace() -> Trace:
    """The innermost open trace; one that nobody reads where there is none."""
    return _current.get() or Trace()


def is_traced() -> bool:
    """Whether somebody collects what the bottlenecks put out now, such as the loss of the model around them."""
    return _current.get() is not None


class _RerunTrace(ExitStack):
    """A trace that nobody reads, for a layer's second run. Unlike `trace(...)` it can be entered again and again."""

    def __init__(self, attention_mask: Tensor | None, first: Tensor | None):
        super().__init__()
        self.attention_mask, self.first = attention_mask, first

    def __enter__(self):
        self.enter_context(trace(self.attention_mask, self.first))
        return self


def checkpoint_contexts() -> tuple[nullcontext, _RerunTrace]:
    """`context_fn` of `torch.utils.checkpoint`: a layer that runs again sees the padding mask of its first run.

    Without it the two runs would not be the same computation.
    """
    return nullcontext(), _RerunTrace(current_trace().attention_mask, current_trace().first)


class Checkpointed(PreTrainedModel):
    """Mixed into a model that holds bottlenecks: activation checkpointing leaves its gradients as they are."""

    def _set_gradient_checkpointing(self, enable=True, gradient_checkpointing_func=checkpoint, *args, **kwargs):
        # Every way to switch checkpointing on, old or new, ends here.
        if enable:
            if getattr(gradient_checkpointing_func, "keywords", {}).get("use_reentrant"):
                raise ValueError(
                    "use_reentrant=True loses the gradient of the bottlenecks' losses. "
                    "Pass {'use_reentrant': False} as the keyword arguments of checkpointing, or nothing."
                )
            gradient_checkpointing_func = partial(
                gradient_checkpointing_func, use_reentrant=False, context_fn=checkpoint_contexts
            )
        super()._set_gradient_checkpointing(enable, gradient_checkpointing_func, *args, **kwargs)
