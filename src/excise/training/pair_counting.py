"""Callback that counts the pairs that each class selects, in the last epoch of a training."""

import logging
import math
from typing import Any, cast

from accelerate.utils import gather_object
from torch import nn
from torch.utils.hooks import RemovableHandle

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.bottlenecks.site import bottlenecks
from excise.codes.pair_counts import PairCounts
from excise.codes.selection import SITE
from excise.training.guard import TrainingGuard

logger = logging.getLogger(__name__)

INSTEAD = "Count after the training: `PairCounts.count(select_pairs(model, encodings), model.bottleneck)`."
ROUNDING = 1e-6  # of epochs, which are fractions of steps


class PairCountCallback(TrainingGuard):
    """Keeps what a class will be forgotten by when its images are no longer at hand.

    In the last epoch of a `Trainer` that trains a key-value model, on pixels, encodings or pairs, it counts which pairs
    the examples of each class select (Unlearning via Sparse Representations, section 4). It costs no forward pass. Of
    an epoch that was cut off, before or after a resume, only a part was seen: then it warns, and there are no counts.

    Masks and deleted rows are upheld from the beginning to the end (`TrainingGuard`). A `Trainer` that pushes to the
    Hub is kept from pushing a model with deletions over older weights (a `ValueError`).

    Attributes:
        counts: the `PairCounts`, over all processes, once the training has ended; `None` before.

    Raises:
        ValueError: when a training begins with label smoothing, for which the `Trainer` hides the labels.

    Example:
        callback = PairCountCallback()
        Trainer(model, args, train_dataset=images, callbacks=[callback]).train()
        callback.counts.save("pair_counts.safetensors")
    """

    def __init__(self):
        self.counts: PairCounts | None = None
        self._so_far: PairCounts | None = None
        self._hook: RemovableHandle | None = None

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        if args.label_smoothing_factor:
            raise ValueError(
                f"label_smoothing_factor={args.label_smoothing_factor}: the model does not see the labels then, and "
                f"pairs cannot be counted by class. {INSTEAD}"
            )
        super().on_train_begin(args, state, control, model=model, optimizer=optimizer)
        self.counts = self._so_far = None
        self._release()

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        epoch = state.epoch or 0.0
        if _is_whole(epoch) and round(epoch) == math.ceil(state.num_train_epochs) - 1:
            self._bottleneck = cast(KeyValueBottleneck, bottlenecks(model)[SITE])
            names = model.config.id2label
            self._so_far = PairCounts.empty(self._bottleneck, [names[i] for i in range(len(names))])
            self._release()
            self._hook = model.register_forward_hook(self._count, with_kwargs=True)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        super().on_train_end(args, state, control, model=model)
        self._release()
        if self._so_far is None or not _is_whole(state.epoch):
            logger.warning(
                "The last epoch was not seen from its beginning to its end: no pairs were counted. %s", INSTEAD
            )
        else:
            first, *others = gather_object([self._so_far])
            self.counts = sum(others, start=first)

    def _count(self, model: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if self._so_far is not None and model.training and kwargs.get("labels") is not None:
            pairs, labels = output["pairs"].cpu().numpy(), kwargs["labels"].cpu().numpy()
            self._so_far += PairCounts.of_batch(pairs, labels, self._bottleneck)

    def _release(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def _is_whole(epoch: float) -> bool:
    return abs(epoch - round(epoch)) < ROUNDING
