"""Data sets of images: their columns, pixels, labels and digests."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import PIL.Image

from excise.data.reading import refuse_stream

if TYPE_CHECKING:  # sets of images are made without any model
    import torch
    from datasets import Dataset
    from transformers import BaseImageProcessor


def columns_of(dataset: "Dataset", kind: Literal["Image", "ClassLabel"]) -> list[str]:
    """The names of a data set's columns of one of the types of `datasets`."""
    import datasets

    return [name for name, feature in dataset.features.items() if isinstance(feature, getattr(datasets, kind))]


def image_column(dataset: "Dataset", image: str | None = None) -> str:
    """The name of a data set's image column: the one asked for, or the only one there is.

    Raises:
        ValueError: if the data set is empty, there is no such column, or which one is meant is not clear.
    """
    refuse_stream(dataset)
    if len(dataset) == 0:
        raise ValueError("The data set is empty; give one with at least one image.")
    columns = columns_of(dataset, "Image")
    if image is not None:
        if image not in columns:
            raise ValueError(f"The data set has no image column {image!r}; its image columns are {columns or 'none'}.")
        return image
    if len(columns) != 1:
        raise ValueError(
            f"The data set has {len(columns)} image columns {columns}, of {dataset.column_names}; name one, keep "
            "one with `select_columns`, or make one with `dataset.cast_column(name, datasets.Image())`."
        )
    return columns[0]


def pixel_values(
    dataset: "Dataset", processor: "BaseImageProcessor", rows: Sequence[int], image: str | None = None
) -> "torch.Tensor":
    """Some rows' images as a model takes them, `(rows, channels, height, width)`; errors as in `rgb_images`."""
    return processor(rgb_images(dataset, rows, image), return_tensors="pt")["pixel_values"]


def rgb_images(dataset: "Dataset", rows: Sequence[int], image: str | None = None) -> list:
    """Rows of a data set as RGB images of Pillow, as they are stored: a transform that is set is not applied.

    Raises:
        ValueError: if one cannot be read; the message tells which.
    """
    name = image_column(dataset, image)
    dataset = dataset.select_columns(name).with_format(None)
    try:
        found = dataset[rows][name]
    except Exception as error:  # which one, Pillow does not say
        raise ValueError(_unreadable(dataset, rows, name)) from error
    for row, picture in zip(rows, found, strict=True):
        if picture is None:
            raise ValueError(f"Row {row} of the data set has no image in {name!r}. Remove the row, or repair it.")
    return [_rgb(picture, row) for row, picture in zip(rows, found, strict=True)]


def _rgb(picture: PIL.Image.Image, row: int) -> PIL.Image.Image:
    """An image with 8 bits for each of red, green and blue; Pillow alone would cut off 16-bit greys at 255."""
    if picture.mode == "F":
        raise ValueError(
            f"The image of row {row} is of floating-point numbers, whose range is not known. Save it as 8 bits."
        )
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        picture = PIL.Image.fromarray((np.asarray(picture).clip(0, 65_535) // 257).astype(np.uint8))
    return picture.convert("RGB")


def _unreadable(dataset: "Dataset", rows: Sequence[int], name: str) -> str:
    for row in rows:
        with suppress(Exception):
            dataset[row]
            continue
        return f"The image in {name!r} of row {row} cannot be read. Remove the row, or repair it."
    return f"Images in {name!r} of rows {rows[0]} to {rows[-1]} cannot be read together."


def label_column(dataset: "Dataset", label: str | None = None) -> str | None:
    """The name of a data set's column of class indices: the one asked for, or the only one there is, or `None`.

    Raises:
        ValueError: if there is no such column, or which one is meant is not clear.
    """
    if label is not None:
        if label not in dataset.column_names:
            raise ValueError(f"The data set has no column {label!r}; its columns are {dataset.column_names}.")
        return label
    columns = columns_of(dataset, "ClassLabel")
    columns = columns or [name for name in ("labels", "label") if name in dataset.column_names]
    if len(columns) > 1:
        raise ValueError(f"The data set has the label columns {columns}; name one.")
    return columns[0] if columns else None


def check_labels(dataset: "Dataset", label: str, num_labels: int) -> None:
    """Makes sure that labels are classes of a model.

    Raises:
        ValueError: if one is none.
    """
    found = np.asarray(dataset.with_format("numpy")[label])
    if not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"{label!r} has values of type {found.dtype}; expected class indices, 0 to {num_labels - 1}. Names become "
            f"indices by `dataset.class_encode_column({label!r})`."
        )
    if found.min() < 0 or found.max() >= num_labels:
        raise ValueError(
            f"{label!r} has values from {found.min()} to {found.max()}; the model has classes 0 to {num_labels - 1}."
        )


def encoded_images(dataset: "Dataset", name: str) -> Iterator[bytes]:
    """The files that a column's images are stored as, such as PNG, in order.

    Raises:
        ValueError: if one is missing; the message tells which.
    """
    from datasets import Image

    stored = dataset.select_columns(name).with_format(None).cast_column(name, Image(decode=False))
    for row, image in enumerate(stored):
        found = image[name] or {}
        if found.get("bytes") is not None:
            yield found["bytes"]
        elif found.get("path"):
            yield Path(found["path"]).read_bytes()
        else:
            raise ValueError(f"Row {row} of the data set has no image in {name!r}. Remove the row, or repair it.")


def images_digest(dataset: "Dataset", name: str) -> str:
    """SHA-256 of the images of a column as they are stored, in order."""
    sha = hashlib.sha256()
    for content in encoded_images(dataset, name):
        sha.update(hashlib.sha256(content).digest())
    return sha.hexdigest()


def without_labels(dataset: "Dataset") -> "Dataset":
    """A data set without its columns of class indices: the classes of a proxy set need not be a model's."""
    labels = columns_of(dataset, "ClassLabel")
    return dataset.remove_columns([*labels, *({"label", "labels"} & {*dataset.column_names} - {*labels})])
