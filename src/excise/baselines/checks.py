"""Checks of a baseline's model, data and arguments, before anything is trained."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel, default_data_collator

from excise.data.class_names import are_no_names
from excise.data.images import columns_of
from excise.data.reading import refuse_stream
from excise.evaluation.predictions import LABELS, Collator, model_columns
from excise.models.activations import eval_mode
from excise.models.class_order import own_classes, places_in_model
from excise.storage.display import few


def check_classifier(
    model: PreTrainedModel, trained: Mapping[str, Dataset], evaluated: Mapping[str, Dataset], data_collator: Collator
) -> None:
    """Makes sure that a model classifies what is in each data set.

    Args:
        model: the model; one row is run through it.
        trained: what it is to be trained on, by the name that messages call it by.
        evaluated: what its accuracy is wanted on, by name.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: if a data set is empty, its labels are missing or none of the model's classes, or the model gives
            no logits, one for each class, or no loss.
    """
    wanted = {f"{name!r} evaluation": dataset for name, dataset in evaluated.items()}
    for name, dataset in {**trained, **wanted}.items():
        _check_labels(name, dataset, cast(int, model.config.num_labels))
        _check_images(name, dataset, data_collator)
        _check_order(name, dataset, model.config)
    name, dataset = next(iter(trained.items()))
    batch = data_collator([model_columns(dataset, model)[0]])
    with eval_mode(model), torch.no_grad():
        output = model(**{key: value.to(model.device) for key, value in batch.items()})
    logits = getattr(output, "logits", None)
    if logits is None or getattr(output, "loss", None) is None:
        raise ValueError(
            f"{type(model).__name__} gives a {type(output).__name__} for a row of the {name} set; expected one with "
            "`loss` and `logits`. Give a model that classifies, such as an AutoModelForImageClassification."
        )
    if logits.shape != (1, model.config.num_labels):
        raise ValueError(
            f"{type(model).__name__} gives logits of shape {tuple(logits.shape)} for one row; expected one for each of "
            f"the {model.config.num_labels} classes of `config.num_labels`."
        )


def _check_images(name: str, dataset: Dataset, data_collator: Collator) -> None:
    """Refuses images as they are stored, where nothing makes pixels of them."""
    stored = columns_of(dataset, "Image")
    made = dataset.format["type"] == "custom" or "pixel_values" in dataset.column_names
    if stored and not made and data_collator is default_data_collator:
        raise ValueError(
            f"The {name} set has images as they are stored, in {stored[0]!r}. Make what the model takes of them: "
            "`image_inputs(model, rows, processor)` of `excise.models`; or give a `data_collator`."
        )


def _check_order(name: str, dataset: Dataset, config: PreTrainedConfig) -> None:
    """Refuses labels whose names are a model's in another order."""
    own = own_classes(config) if config.id2label else ()
    column = next(column for column in LABELS if column in dataset.column_names)
    names = getattr(dataset.features[column], "names", None)
    if names is None or are_no_names(own):
        return
    if places_in_model(config, names) != list(range(len(names))):
        raise ValueError(
            f"The classes of the {name} set stand in another order than the model's, {few(own, 20)}. Of images, "
            "`image_inputs(model, rows, processor)` of `excise.models` goes by the names, as `encode_images` does. "
            "Where a `data_collator` does, make the column one of numbers: `cast_column(name, Value('int64'))`."
        )


def _check_labels(name: str, dataset: Dataset, num_labels: int) -> None:
    refuse_stream(dataset)
    if len(dataset) == 0:
        raise ValueError(f"The {name} set is empty; give at least one row.")
    column = next((column for column in LABELS if column in dataset.column_names), None)
    if column is None:
        raise ValueError(f"The {name} set has neither `labels` nor `label`; its columns are {dataset.column_names}.")
    labels = np.asarray(dataset.select_columns(column).with_format("numpy")[:][column])
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The labels of the {name} set are {labels.dtype} of shape {labels.shape}; expected one class, a whole "
            "number, for each row."
        )
    if labels.min() < 0 or labels.max() >= num_labels:
        raise ValueError(
            f"The labels of the {name} set go from {labels.min()} to {labels.max()}, and the model has classes 0 to "
            f"{num_labels - 1}. Map the labels to these, or make the model with a larger `num_labels`."
        )
