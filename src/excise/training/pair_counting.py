"""Counts of the pairs that each class selects, from the last epoch of a training."""

import math

from accelerate.utils import gather_object
from transformers import TrainerCallback

from excise.encodings import PairCounts
from excise.models.site import bottlenecks
from excise.pair_selection import SITE


class PairCountCallback(TrainerCallback):
    """Keeps what a class will be forgotten by when its images are no longer at hand.

    In the last epoch of a `Trainer` that trains a key-value model, on pixels, encodings or pairs, it counts which pairs
    the examples of each class select (Unlearning via Sparse Representations, section 4). It costs no forward pass.

    Attributes:
        counts: the `PairCounts`, over all processes, once the training has ended; `None` before.

    Example:
        callback = PairCountCallback()
        Trainer(model, args, train_dataset=images, callbacks=[callback]).train()
        callback.counts.save("pair_counts.safetensors")
    """

    def __init__(self):
        self.counts = self._so_far = self._hook = None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.counts = self._so_far = None
        self._release()

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        if round(state.epoch or 0) == math.ceil(state.num_train_epochs) - 1:
            self._bottleneck = bottlenecks(model)[SITE]
            self._so_far = PairCounts.empty(self._bottleneck)
            self._release()
            self._hook = model.register_forward_hook(self._count, with_kwargs=True)

    def on_train_end(self, args, state, control, **kwargs):
        self._release()
        if self._so_far is not None:
            first, *others = gather_object([self._so_far])
            self.counts = sum(others, start=first)

    def _count(self, model, args, kwargs, output) -> None:
        if model.training and kwargs.get("labels") is not None:
            pairs, labels = output["pairs"].cpu().numpy(), kwargs["labels"].cpu().numpy()
            self._so_far += PairCounts.of_batch(pairs, labels, self._bottleneck)

    def _release(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
