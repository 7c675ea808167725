"""Data sets of images: their columns, pixels, labels and digests."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from excise.data.pixels import Range, check_range, is_readable, is_wide, of_array, range_in_dataset, range_in_file, rgb
from excise.data.reading import refuse_stream
from excise.storage.digests import digest

logger = logging.getLogger(__name__)

# So many images are looked at, and what is no brighter is next to black.
LOOKED_AT, DARK = 32, 31

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
        arrays = [name for name, feature in dataset.features.items() if is_of_arrays(feature)]
        if arrays and not columns:
            raise ValueError(
                f"The data set has 0 image columns; {arrays[0]!r} has arrays. `excise.data.to_rgb(dataset, "
                f"image={arrays[0]!r}, value_range=(0, 255))` makes images of them; give the values of black and white."
            )
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


def rgb_images(
    dataset: "Dataset", rows: Sequence[int], image: str | None = None, value_range: Range | None = None
) -> list:
    """Rows of a data set as RGB images of Pillow, as they are stored: a transform that is set is not applied.

    Args:
        dataset: the data set.
        rows: their numbers.
        image: the image column; the only one if not given.
        value_range: the values of black and white. If it is not given, images of more than 8 bits have the range that
            their file tells, or else all 16 bits where the data set makes use of them.

    Raises:
        ValueError: if one cannot be read, or the range of its values is not known; the message tells which.
    """
    name = image_column(dataset, image)
    dataset = dataset.select_columns(name).with_format(None)
    mode = getattr(dataset.features[name], "mode", None)
    if mode is not None:  # Pillow alone would cut off all that is above 255
        dataset = dataset.cast_column(name, type(dataset.features[name])())
    try:
        found = dataset[rows][name]
    except Exception as error:  # which one, Pillow does not say
        raise ValueError(_unreadable(dataset, rows, name)) from error
    for row, picture in zip(rows, found, strict=True):
        if picture is None:
            raise ValueError(f"Row {row} of the data set has no image in {name!r}. Remove the row, or repair it.")
    return pictures_as_rgb(dataset, name, found, [f"The image of row {row}" for row in rows], value_range, mode)


def pictures_as_rgb(
    dataset: "Dataset",
    name: str,
    pictures: Sequence,
    places: Sequence[str] | None = None,
    value_range: Range | None = None,
    mode: str | None = None,
) -> list:
    """Pictures of a data set as RGB images.

    Args:
        dataset: where they are from.
        name: their column.
        pictures: of Pillow.
        places: what messages call each.
        value_range: as in `rgb_images`.
        mode: the one that the column asks for.

    Raises:
        ValueError: if the range of one is not known, or it has none that can be shown.
    """
    made = []
    for i, picture in enumerate(pictures):
        where, known = places[i] if places else "An image", value_range
        if known is None and is_wide(picture):
            known = range_in_file(picture) or range_in_dataset(dataset, name, where)
        colours = rgb(picture, where, known)
        made.append(colours if mode in (None, "RGB") else colours.convert(mode).convert("RGB"))
    return made


def warn_of_darkness(dataset: "Dataset", name: str) -> None:
    """Says so if the first images of a data set hold next to no light, as where values of 0 to 16 were saved as such.

    Args:
        dataset: images.
        name: their column.
    """
    rows = range(min(len(dataset), LOOKED_AT))
    brightest = max(int(np.asarray(picture).max()) for picture in rgb_images(dataset, rows, name))
    if brightest <= DARK:
        logger.warning(
            "The first %d images of %r hold no value above %d of 255, and are next to black. If that is their white, "
            "give `value_range=(0, %d)`.",
            len(rows),
            name,
            brightest,
            max(brightest, 1),
        )


def is_of_arrays(feature: Any) -> bool:
    """Whether a column holds arrays of two or three dimensions."""
    if hasattr(feature, "shape"):
        return len(feature.shape) in (2, 3)
    return hasattr(feature, "feature") and hasattr(feature.feature, "feature")


def to_rgb(dataset: "Dataset", value_range: Any = None, *, image: str | None = None) -> "Dataset":
    """A data set whose images are RGB of 8 bits, whatever they were: of more bits, of numbers with a point, or arrays.

    Args:
        dataset: rows with a column of images; or of arrays of two dimensions, or of three with 1, 3 or 4 channels first
            or last.
        value_range: the values of black and of white, such as `(0, 4095)` of 12 bits or `(0, 1)`; as in `rgb_images` if
            not given, and of arrays 0 and 255 if they are `uint8`.
        image: the column; the only one if not given.

    Raises:
        ValueError: if there is no such column, a value is out of range, or the range is not known.
    """
    from datasets import Features, Image, concatenate_datasets

    known = None if value_range is None else check_range(value_range)
    arrays = [name for name, feature in dataset.features.items() if is_of_arrays(feature)]
    given = image or (arrays[0] if len(arrays) == 1 and not columns_of(dataset, "Image") else None)
    name = given if given is not None and given in arrays else image_column(dataset, given)
    dataset = dataset.with_format(None)
    order = dataset.column_names

    def converted(batch: dict[str, list], rows: list[int]) -> dict[str, list]:
        if name not in arrays:
            return {name: rgb_images(dataset, rows, name, known)}
        kind = _array_type(dataset.features[name])
        of_rows = zip(rows, batch[name], strict=True)
        return {name: [of_array(np.asarray(row, kind), f"The array of row {i}", known) for i, row in of_rows]}

    made = dataset.select_columns(name).map(
        converted,
        with_indices=True,
        batched=True,
        batch_size=64,
        features=Features({name: Image()}),
        new_fingerprint=digest(["to_rgb", dataset._fingerprint, name, known], {}),
    )
    others = dataset.remove_columns(name)
    return concatenate_datasets([others, made] if others.column_names else [made], axis=1).select_columns(order)


def _array_type(feature: Any) -> str:
    while hasattr(feature, "feature"):
        feature = feature.feature
    return feature.dtype


def _unreadable(dataset: "Dataset", rows: Sequence[int], name: str) -> str:
    for row, content in zip(rows, encoded_images(dataset.select(rows), name), strict=True):
        if not is_readable(content):
            return (
                f"The image in {name!r} of row {row}{_file_of(dataset, row, name)} cannot be read. Remove or repair it."
            )
    return f"Images in {name!r} of rows {rows[0]} to {rows[-1]} cannot be read together."


def _file_of(dataset: "Dataset", row: int, name: str) -> str:
    """Where an image is stored, where the data set knows it, in brackets."""
    from datasets import Image

    stored = dataset.select([row]).with_format(None).cast_column(name, Image(decode=False))[0][name]
    return f" (the file {stored['path']})" if stored and stored.get("path") else ""


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


def check_readable(dataset: "Dataset", name: str, rows: Sequence[int]) -> None:
    """Refuses images that cannot be read; a `ValueError` names row and file."""
    for row, content in zip(rows, encoded_images(dataset.select(rows), name), strict=True):
        if not is_readable(content):
            raise ValueError(_unreadable(dataset, [row], name))


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
