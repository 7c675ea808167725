"""Images with their classes as a model takes them, whatever trains or evaluates it: made when they are asked for."""

from typing import TYPE_CHECKING, Any

from transformers import BaseImageProcessor, PreTrainedModel

from excise.data.images import image_column, label_column, pictures_as_rgb
from excise.models.class_order import labels_in_model

if TYPE_CHECKING:
    from datasets import Dataset


def image_inputs(
    model: PreTrainedModel,
    dataset: "Dataset",
    processor: BaseImageProcessor,
    *,
    image: str | None = None,
    label: str | None = None,
) -> "Dataset":
    """A data set of images whose rows are `pixel_values` and `labels` from then on: a `Trainer` and baselines take it.

    Args:
        model: the classifier that they are for; classes go by their names, in its order.
        dataset: rows with an image, and a class if there are any.
        processor: the model's.
        image: the image column; the only one if not given.
        label: the column of labels, or of the names of classes; that of type `ClassLabel` if not given.

    Raises:
        ValueError: if there is no such column, or a class is none of the model's; and, when a row is read, if its image
            cannot be.

    Example:
        forget, retain = (image_inputs(model, rows, processor) for rows in (forget, retain))
        run = scrub(model, forget, retain, args)
    """
    dataset = dataset.with_format(None)
    image, label = image_column(dataset, image), label_column(dataset, label)
    rows = dataset.select_columns(image)
    if label is not None:
        labels, feature = labels_in_model(model.config, dataset, label)
        rows = dataset.select_columns([image, label])
        if labels == dataset[label][:] and label != "labels":
            rows = rows.rename_column(label, "labels")
        elif labels != dataset[label][:]:
            rows = rows.remove_columns(label).add_column("labels", labels, feature=feature)

    def made(batch: dict[str, list]) -> dict[str, list[Any]]:
        pixels = processor(pictures_as_rgb(rows, image, batch[image]), return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels)} | {key: batch[key] for key in ("labels",) if key in batch}

    return rows.with_transform(made)
