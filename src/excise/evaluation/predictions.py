"""Predictions of a classifier on a data set: logits, accuracies and losses, each example by itself."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, default_data_collator

from excise.models.activations import eval_mode

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


@torch.no_grad()
def predict(
    model: PreTrainedModel, dataset: Dataset, batch_size: int = 256, data_collator: Collator = default_data_collator
) -> Predictions:
    """Runs a classifier over a data set, in eval mode and on the device where it is.

    It draws no random numbers, so that looking at a model during a training does not change the training.

    Args:
        model: any classifier whose output has `logits`.
        dataset: rows of what the model takes, and `labels` (or `label`); other columns are left out.
        batch_size: rows a batch.
        data_collator: makes a batch of rows, as for a `Trainer`.

    Raises:
        ValueError: if the data set is empty or has no labels, or the model gives no logits or such as are not finite.
    """
    if len(dataset) == 0:
        raise ValueError("The data set is empty; give one with at least one row.")
    loader = DataLoader(
        model_columns(dataset, model),
        batch_size=batch_size,
        collate_fn=data_collator,
        generator=torch.Generator(),  # otherwise a loader takes a number from the global one
    )
    logits, labels = [], []
    with eval_mode(model):
        for batch in loader:
            labels.append(batch.pop("labels"))
            output = model(**{name: value.to(model.device) for name, value in batch.items()})
            if getattr(output, "logits", None) is None:
                raise ValueError(f"{type(model).__name__} gives no `logits`; give a model that classifies.")
            logits.append(output.logits.float().cpu())
    found = Predictions(torch.cat(logits), torch.cat(labels).cpu())
    if not found.logits.isfinite().all():
        broken = int((~found.logits.isfinite().all(-1)).sum())
        raise ValueError(
            f"The logits of {broken} of {len(dataset)} examples are not finite (NaN or infinity). The model's weights "
            "are broken, or its training has diverged: lower the learning rate, or clip gradients."
        )
    return found


def model_columns(dataset: Dataset, model: PreTrainedModel) -> Dataset:
    """The columns that a model's `forward` names, and the labels: what a `Trainer` leaves of a data set.

    All columns stay where the model takes none of them: a transform or a collator makes of them what it takes.

    Raises:
        ValueError: if there are no labels.
    """
    base = getattr(model, "get_base_model", lambda: model)()
    taken = inspect.signature(base.forward).parameters
    columns = [name for name in dataset.column_names if name in {*taken, *LABELS}]
    if not set(LABELS) & set(columns):
        raise ValueError(f"The data set has neither `labels` nor `label`; its columns are {dataset.column_names}.")
    inputs = set(columns) - set(LABELS)
    return dataset.select_columns(columns) if inputs else dataset


def accuracy(
    model: PreTrainedModel, dataset: Dataset, batch_size: int = 256, data_collator: Collator = default_data_collator
) -> float:
    """The share of examples whose class a model finds; arguments and errors as in `predict`."""
    logits, labels = predict(model, dataset, batch_size, data_collator)
    return (logits.argmax(-1) == labels).double().mean().item()


def class_accuracy(
    model: PreTrainedModel, dataset: Dataset, batch_size: int = 256, data_collator: Collator = default_data_collator
) -> dict[int, float]:
    """For each class that occurs, the share of its examples that a model finds; arguments and errors as in `predict`.

    The paper forgets the class that is learned best (appendix A).
    """
    logits, labels = predict(model, dataset, batch_size, data_collator)
    right = (logits.argmax(-1) == labels).double()
    return {label: right[labels == label].mean().item() for label in labels.unique().tolist()}


def example_losses(
    model: PreTrainedModel, dataset: Dataset, batch_size: int = 256, data_collator: Collator = default_data_collator
) -> np.ndarray:
    """The cross-entropy of each example, `(examples,)`, in the order of the data set.

    Arguments and errors as in `predict`.
    """
    logits, labels = predict(model, dataset, batch_size, data_collator)
    return F.cross_entropy(logits, labels, reduction="none").numpy()
