"""Encodings of a data set's images by a frozen encoder, computed once and cached."""

import copy
import hashlib
import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from transformers import BaseImageProcessor

from excise.data.images import (
    check_readable,
    image_column,
    images_digest,
    label_column,
    pixel_values,
    to_rgb,
    warn_of_darkness,
)
from excise.data.inputs import ENCODINGS
from excise.data.reading import as_rows, refuse_stream
from excise.models.class_order import labels_in_model
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.shards import described, description, in_shards
from excise.storage.digests import digest
from excise.storage.expected import expects

if TYPE_CHECKING:
    from datasets import Dataset

LABELS = "labels"
# What an encoder's configuration says beside how it computes; the type of its weights is told by these themselves.
NO_SETTINGS = ("_name_or_path", "architectures", "dtype", "id2label", "label2id", "transformers_version")


@expects("model", "processor")  # the data set may be whatever `load_rows` reads
def encode_images(
    model: KeyValueForImageClassification,
    dataset: "Dataset",
    processor: BaseImageProcessor,
    *,
    image: str | None = None,
    label: str | None = None,
    batch_size: int = 8,
    shard_size: int = 1_000,
    dtype: torch.dtype | None = None,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
    value_range: tuple[float, float] | None = None,
) -> "Dataset":
    """The encodings of a data set's images; computed at the first call, read from disk at every later one.

    They are kept under a fingerprint of encoder, processor, images and labels, so that none of these can change and an
    old encoding be used. They are written in shards: a run that was cut off goes on at the shard that it was at, and
    several processes (`torchrun`) each compute a part of the shards.

    Args:
        model: its encoder is used, in eval mode.
        dataset: rows, or whatever `load_rows` reads, with an image column and, to be used for training, one of classes.
            These go by their names, in whichever order the data set has them; labels without names are the model's.
        processor: the encoder's image processor.
        image: the image column; the only one if not given.
        label: the column of labels, or of the names of classes; that of type `ClassLabel` if not given.
        batch_size: images at once.
        shard_size: images a file.
        dtype: what the encoder computes in where it can, as under `torch.autocast`; the type of its weights if not
            given. `torch.bfloat16` is several times faster where the hardware has it, and not exact.
        cache_dir: where to keep them; beside the caches of `datasets` if not given.
        progress: show a progress bar.
        value_range: the values of black and white, for images of more than 8 bits whose range is not known, and for
            arrays; see `excise.data.to_rgb`.

    Returns:
        A data set with `encodings`, float32 `(hidden_size,)`, and `labels`, where there are any, which are the
        model's, in the given order of rows.

    Raises:
        ValueError: if the data set is empty or a stream, an image cannot be read, labels are out of range, a class is
            none of the model's, encodings are not finite, or a file of the cache is not what was written.
    """
    from datasets import Features, List, Value

    check_has_pairs(model)
    dataset = as_rows(dataset)
    refuse_stream(dataset)
    dataset = dataset.with_format(None)  # whatever it gives to others, here are images and class indices
    if value_range is not None:
        dataset = to_rgb(dataset, value_range, image=image)
    image = image_column(dataset, image)
    label = label_column(dataset, label)
    labels, feature = ([], None) if label is None else labels_in_model(model.config, dataset, label)
    about = {
        "kind": ENCODINGS,
        "encoder": encoder_digest(model),
        "processor": hashlib.sha256(processor.to_json_string().encode()).hexdigest(),
        "images": images_digest(dataset, image),
        "labels": label and hashlib.sha256(json.dumps(labels).encode()).hexdigest(),
    }
    if dtype is not None:
        about["dtype"] = str(dtype).removeprefix("torch.")

    @cache  # where all is read from disk, nothing is copied
    def fast() -> KeyValueForImageClassification:
        copied = copy.deepcopy(model).requires_grad_(False).eval()
        copied.encoder.to(memory_format=torch.channels_last)  # a third faster on a CPU where there are convolutions
        return copied

    def encode(rows: list[int]) -> dict:
        check_readable(dataset, image, rows)
        pixels = pixel_values(dataset, processor, rows, image)
        with torch.autocast(model.device.type, dtype, enabled=dtype is not None):
            found = fast().encode(pixels.to(model.device)).float().cpu()
        if not found.isfinite().all():
            raise ValueError(f"Encodings of rows {rows[0]} to {rows[-1]} are not finite (NaN or infinity).")
        return {ENCODINGS: found.numpy()}

    features = Features({ENCODINGS: List(Value("float32"), length=model.config.encoding_size)})
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "shard_size": shard_size,
        "cache_dir": cache_dir,
        "progress": progress,
    }
    warn_of_darkness(dataset, image)
    found = in_shards(len(dataset), encode, features, about, **options)
    if label is not None:
        found = found.add_column(LABELS, labels, feature=feature)
    return described(found, about)


def check_has_pairs(model: Any) -> None:
    """Refuses a model that has no key-value bottleneck on a frozen encoder.

    Raises:
        ValueError: if so.
    """
    if not isinstance(model, KeyValueForImageClassification):
        raise ValueError(
            f"A {type(model).__name__} has no key-value pairs on a frozen encoder, so there are no encodings to keep: "
            "expected a KeyValueForImageClassification, as `from_encoder(...)` makes it. A model with codebooks takes "
            "images as they are."
        )


def check_encodings(encodings: "Dataset", model: KeyValueForImageClassification) -> None:
    """Makes sure that a data set holds encodings by a model's encoder.

    Raises:
        ValueError: if it holds something else, or another encoder's.
    """
    check_has_pairs(model)
    about = description(encodings)
    if about.get("kind") != ENCODINGS:
        raise ValueError(
            f"Expected what `encode_images` returns, or a part of it; got columns {encodings.column_names}. Put data "
            "sets together before they are encoded, not after."
        )
    if about["encoder"] != encoder_digest(model):
        raise ValueError("These are encodings of another encoder than the model's. Make them again: `encode_images`.")


def encoder_digest(model: KeyValueForImageClassification) -> str:
    """SHA-256 of a model's encoder, its settings and what is taken of its output."""
    settings = {name: value for name, value in model.config.encoder.to_dict().items() if name not in NO_SETTINGS}
    return digest([model.config.pooling, settings], model.encoder.state_dict())
