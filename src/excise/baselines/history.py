"""History of a baseline, epoch by epoch: the record behind figures 4 and 6 and the runtimes of table 8."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments, default_data_collator

from excise.evaluation.predictions import Collator, accuracy
from excise.storage.display import HtmlTable, few

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Epoch:
    """Where a training stood.

    Attributes:
        number: epochs done; 0 is before the first.
        seconds: of training until then; evaluations are not counted.
        accuracy: on each data set that is looked at, by its name.
        loss: on each data set of texts, a token's mean, by its name.
    """

    number: int
    seconds: float
    accuracy: Mapping[str, float]
    loss: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, float]:
        """The line of this epoch in a table."""
        losses = {f"loss on {name}": value for name, value in self.loss.items()}
        return {"epoch": self.number, "seconds": self.seconds, **self.accuracy, **losses}


@dataclass(frozen=True, repr=False)
class BaselineRun(HtmlTable):
    """What a baseline gives.

    Attributes:
        model: the new model, in eval mode, on the device it was trained on.
        history: one record an epoch, and a first one from before them.
        epoch: the epoch whose weights `model` has.
    """

    model: PreTrainedModel
    history: tuple[Epoch, ...]
    epoch: int

    def __repr__(self) -> str:
        kind, measured = ("loss", self.loss) if self.loss else ("accuracy", self.accuracy)
        values = few([f"{name} {value:.3f}" for name, value in measured.items()])
        return (
            f"BaselineRun: {type(self.model).__name__} of epoch {self.epoch} of {self.history[-1].number}, "
            f"{self.seconds:.1f} s; {kind}: {values}"
        )

    @property
    def seconds(self) -> float:
        """Seconds of the whole training, evaluations not counted."""
        return self.history[-1].seconds

    @property
    def accuracy(self) -> Mapping[str, float]:
        """The accuracies of `model`, by data set."""
        return self.history[self.epoch].accuracy

    @property
    def loss(self) -> Mapping[str, float]:
        """The losses of `model`, by data set; of baselines on texts."""
        return self.history[self.epoch].loss

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per epoch: `epoch`, `seconds`, and the accuracy or loss on each data set."""
        return _table(self.history)


class EpochHistory(HtmlTable, TrainerCallback):
    """Records a classifier's accuracies before a training and after every epoch, and how long it trained.

    It goes with any `Trainer`; every baseline has one. It leaves the training as it would be without it.

    Args:
        datasets: what to look at, by name, for example the `forget` and the `retain` test set.
        data_collator: makes a batch of rows.

    Example:
        history = EpochHistory({"forget": forget_test, "retain": retain_test})
        Trainer(unlearned_model, args, train_dataset=retain, callbacks=[history]).train()
        history.epochs[-1].accuracy["forget"]

    Source: *Unlearning via Sparse Representations*, section 5.4 and appendix B.
    """

    def __init__(self, datasets: Mapping[str, Dataset], data_collator: Collator = default_data_collator):
        self.datasets = dict(datasets)
        self.data_collator = data_collator
        self.epochs: list[Epoch] = []

    def __repr__(self) -> str:
        return f"EpochHistory: {len(self.epochs):,} records of {few(list(self.datasets))}"

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per epoch: `epoch`, `seconds`, and the accuracy on each data set."""
        return _table(self.epochs)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.epochs = []
        self.seconds = 0.0
        self._record(args, model)

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.started = now()

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self.seconds += now() - self.started
        self._record(args, model)

    def _record(self, args: TrainingArguments, model: PreTrainedModel) -> None:
        found = {
            name: accuracy(model, dataset, args.per_device_eval_batch_size, self.data_collator)
            for name, dataset in self.datasets.items()
        }
        self.epochs.append(Epoch(len(self.epochs), self.seconds, found))


def _table(epochs: Sequence[Epoch]) -> "pandas.DataFrame":
    import pandas

    return pandas.DataFrame([epoch.row() for epoch in epochs])


def now() -> float:
    """The time, once all that was handed to an accelerator is done."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()
