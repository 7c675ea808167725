"""Predictions of a classifier on a data set: logits, accuracies and losses, each example by itself."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from datasets.fingerprint import Hasher
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, default_data_collator

from excise.bottlenecks.site import is_spread
from excise.data.reading import is_stream
from excise.models.activations import computing, eval_mode
from excise.storage.expected import expects
from excise.storage.shared_pass import shared_pass

Collator = Callable[[list[Any]], dict[str, Any]]
# What data sets call their labels; collators call them the first.
LABELS = ("labels", "label")


class Predictions(NamedTuple):
    """A model's answers, in the order of the data set, in fp32 and on the CPU.

    Args:
        logits: `(examples, num_labels)`.
        labels: the true classes, `(examples,)`, int64.
    """

    logits: Tensor
    labels: Tensor


AnyRows = TypeVar("AnyRows", Dataset, IterableDataset)
Batch = TypeVar("Batch", covariant=True)
Output = TypeVar("Output")


class Batches(Protocol[Batch]):
    """Batches that processes can share, as `RowBatches`."""

    def __iter__(self) -> Iterator[Batch]: ...

    def digest(self) -> str:
        """Of all rows; nothing of a stream."""

    def seen(self) -> str:
        """Of the rows of a stream that were read; nothing of a data set."""


def joined_pass(
    model: torch.nn.Module,
    settings: dict[str, Any],
    batches: Batches[Batch],
    step: Callable[[dict[int, Output], Batch], dict[int, Output]],
) -> dict[int, Output]:
    """The outputs of a model by number of row or batch, whichever process of a run ran which.

    Args:
        model: what is run.
        settings: all that outputs depend on beside model and rows, as JSON values; `function` names the pass.
        batches: the rows.
        step: puts the outputs for a batch beside those that there are.
    """

    def about() -> dict[str, Any]:
        return {**settings, "data": batches.digest(), "model": computing(model)}

    def merged(parts: Sequence[dict[int, Output]]) -> dict[int, Output]:
        return {number: output for part in parts for number, output in part.items()}

    return shared_pass(about, batches, dict, step, merged, batches.seen, alone=is_spread(model))


@torch.no_grad()
def predict(
    model: PreTrainedModel,
    dataset: Dataset | IterableDataset,
    batch_size: int = 256,
    data_collator: Collator = default_data_collator,
) -> Predictions:
    """Runs a classifier over a data set, in eval mode and on the device where it is.

    It draws no random numbers, so that looking at a model during a training does not change the training. The processes
    of a run that call it share the batches, and each gets all predictions.

    Args:
        model: any classifier whose output has `logits`.
        dataset: rows of what the model takes, and `labels` (or `label`); other columns are left out. A stream will do.
        batch_size: rows a batch.
        data_collator: makes a batch of rows, as for a `Trainer`.

    Raises:
        ValueError: if the data set is empty or has no labels, or the model gives no logits or such as are not finite.
    """
    rows = _Rows(dataset, model, batch_size)
    settings = {"function": "predict", "batch_size": batch_size, "collator": Hasher.hash(data_collator)}

    def step(outputs: dict[int, Predictions], batch: tuple[int, Any]) -> dict[int, Predictions]:
        number, fetch = batch
        inputs = data_collator(fetch())
        labels = inputs.pop("labels")
        output = model(**{name: value.to(model.device) for name, value in inputs.items()})
        if getattr(output, "logits", None) is None:
            raise ValueError(f"{type(model).__name__} gives no `logits`; give a model that classifies.")
        outputs[number] = Predictions(output.logits.float().cpu(), labels.cpu())
        return outputs

    with eval_mode(model):
        outputs = joined_pass(model, settings, rows, step)
    if not outputs:
        raise ValueError("The data set is empty; give one with at least one row.")
    found = Predictions(*(torch.cat(parts) for parts in zip(*(outputs[i] for i in sorted(outputs)), strict=True)))
    if not found.logits.isfinite().all():
        broken = int((~found.logits.isfinite().all(-1)).sum())
        raise ValueError(
            f"The logits of {broken} of {len(found.labels)} examples are not finite (NaN or infinity). The model's "
            "weights are broken, or its training has diverged: lower the learning rate, or clip gradients."
        )
    return found


class _Rows:
    """Batches of rows as a collator takes them, each with its number, in the order of a data set or stream."""

    def __init__(self, dataset: Dataset | IterableDataset, model: PreTrainedModel, batch_size: int):
        self.dataset, self.batch_size = model_columns(dataset, model), batch_size
        self._read = ""

    def __iter__(self) -> Iterator[tuple[int, Callable[[], list[Any]]]]:
        if is_stream(self.dataset):
            self._read, rows, number = "", iter(self.dataset), 0
            while part := list(islice(rows, self.batch_size)):
                self._read = Hasher.hash([self._read, part])
                yield number, partial(list, part)
                number += 1
        else:
            for number, start in enumerate(range(0, len(self.dataset), self.batch_size)):
                places = list(range(start, min(start + self.batch_size, len(self.dataset))))
                yield number, partial(self.dataset.__getitems__, places)

    def digest(self) -> str:
        return "" if is_stream(self.dataset) else self.dataset._fingerprint

    def seen(self) -> str:
        return self._read


def model_columns(dataset: AnyRows, model: PreTrainedModel) -> AnyRows:
    """The columns that a model's `forward` names, and the labels: what a `Trainer` leaves of a data set.

    All columns stay where the model takes none of them: a transform or a collator makes of them what it takes.

    Raises:
        ValueError: if there are no labels.
    """
    base = getattr(model, "get_base_model", lambda: model)()
    taken: Mapping[str, Any] = inspect.signature(base.forward).parameters
    names = dataset.column_names or list(next(iter(dataset), {}))  # a stream may not know them before it is read
    columns = [name for name in names if name in {*taken, *LABELS}]
    if not set(LABELS) & set(columns):
        raise ValueError(f"The data set has neither `labels` nor `label`; its columns are {names}.")
    inputs = set(columns) - set(LABELS)
    return dataset.select_columns(columns) if inputs else dataset


def accuracy(
    model: PreTrainedModel,
    dataset: Dataset | IterableDataset,
    batch_size: int = 256,
    data_collator: Collator = default_data_collator,
) -> float:
    """The share of examples whose class a model finds; arguments and errors as in `predict`."""
    logits, labels = predict(model, dataset, batch_size, data_collator)
    return (logits.argmax(-1) == labels).double().mean().item()


@expects("model", dataset="rows")
def class_accuracy(
    model: PreTrainedModel,
    dataset: Dataset | IterableDataset,
    batch_size: int = 256,
    data_collator: Collator = default_data_collator,
) -> dict[int, float]:
    """For each class that occurs, the share of its examples that a model finds; arguments and errors as in `predict`.

    The paper forgets the class that is learned best (appendix A).
    """
    logits, labels = predict(model, dataset, batch_size, data_collator)
    right = (logits.argmax(-1) == labels).double()
    return {label: right[labels == label].mean().item() for label in labels.unique().tolist()}


@expects("model", dataset="rows")
def example_losses(
    model: PreTrainedModel,
    dataset: Dataset | IterableDataset,
    batch_size: int = 256,
    data_collator: Collator = default_data_collator,
) -> np.ndarray:
    """The cross-entropy of each example, `(examples,)`, in the order of the data set.

    Arguments and errors as in `predict`.
    """
    logits, labels = predict(model, dataset, batch_size, data_collator)
    return F.cross_entropy(logits, labels, reduction="none").numpy()
