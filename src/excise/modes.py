"""A model's mode, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts a model in eval mode, and back as it was, whatever happens inside."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
