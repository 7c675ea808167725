"""Training of an image classifier with key-value pairs on a frozen encoder, from its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoImageProcessor, TrainingArguments, set_seed

from excise.bottlenecks.key_value.configuration import KeyValueConfig
from excise.cli.loading import check_there
from excise.cli.train.options import parsed
from excise.cli.train_classifier.arguments import OWN_ARGUMENTS, DataArguments
from excise.data.class_labels import class_index, class_labels
from excise.data.images import image_column, to_rgb
from excise.data.reading import load_rows, own_test_split
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import encode_images
from excise.training.classifier import train_classifier
from excise.training.key_value_presets import KEY_VALUE_PRESETS

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class KeyValueTrainingArguments(TrainingArguments):
    """Transformers' own, with the paper's table 4 as defaults."""

    output_dir: str | None = "key-value-classifier"
    do_train: bool = True
    learning_rate: float = 0.1
    num_train_epochs: float = 74
    per_device_train_batch_size: int = 256
    per_device_eval_batch_size: int = 256
    weight_decay: float = 0.0  # AdamW is then Adam
    lr_scheduler_type: str = "constant"
    max_grad_norm: float = 0.0
    save_strategy: str = "steps"
    save_steps: float = 0.1  # ten times in a training
    save_total_limit: int | None = 1
    logging_strategy: str = "epoch"
    report_to: str = "none"


ALL_ARGUMENTS: Any = (*OWN_ARGUMENTS, KeyValueTrainingArguments)


def main(argv: Sequence[str], progress: bool = True, prog: str | None = None) -> dict[str, float]:
    """Trains, and writes the classifier, its counts and its metrics into `--output_dir`.

    Args:
        argv: the arguments.
        progress: show progress bars.
        prog: what the program is called in messages about its arguments.

    Returns:
        The accuracies.

    Raises:
        ValueError: if the data set or the encoder is none, which is looked for before anything is computed.
    """
    model_args, data_args, args = parsed(ALL_ARGUMENTS, argv, prog)
    if model_args.preset:  # its settings as if they had been given first
        words = [*KEY_VALUE_PRESETS[model_args.preset].words(), *argv]
        model_args, data_args, args = parsed(ALL_ARGUMENTS, words, prog)
    set_seed(args.seed)
    args.disable_tqdm = args.disable_tqdm or not progress
    args.dataloader_pin_memory = args.dataloader_pin_memory and torch.cuda.is_available()
    check_there(model_args.model_name_or_path)
    images, label, names = load_images(data_args)
    rows, held = chosen_rows(data_args, len(images["train"]))

    settings = {name: getattr(model_args, name) for name in ("num_codebooks", "num_pairs", "key_dim", "top_k")}
    bottleneck = KeyValueConfig(**settings, projection=model_args.projection, value_init=model_args.value_init)
    model = KeyValueForImageClassification.from_encoder(model_args.model_name_or_path, bottleneck, id2label=names)
    processor = AutoImageProcessor.from_pretrained(model_args.model_name_or_path)
    model.to(args.device)
    cache: dict[str, Any] = {"cache_dir": data_args.cache_dir, "progress": not args.disable_tqdm}
    dtype = getattr(torch, data_args.encoder_dtype) if data_args.encoder_dtype else None
    how: dict[str, Any] = {"image": data_args.image_column, "label": label, "dtype": dtype}
    encodings = {split: encode_images(model, part, processor, **how, **cache) for split, part in images.items()}
    # Chosen among encodings, so that no image is encoded again for them.
    train, test = encodings["train"].select(rows), encodings.get("test")
    test = encodings["train"].select(held) if len(held) else test
    keys = {"key_epochs": model_args.key_epochs, "components": model_args.components}
    return train_classifier(model, processor, train, args, test=test, **keys, **cache)


def chosen_rows(args: DataArguments, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Of so many training images those to train on, and those that are held out of them, by their rows.

    Raises:
        ValueError: if all would be held out, or a row that is asked for is not there.
    """
    order, held = np.random.default_rng(0).permutation(total), args.validation_samples or 0
    if held >= total:
        raise ValueError(
            f"None of {total} training images would be left: --validation_samples {held} holds them out. Give fewer."
        )
    train = np.sort(order[held:])
    if args.train_rows:
        rows = np.load(args.train_rows)
        if (
            rows.dtype.kind not in "iu"
            or rows.ndim != 1
            or not len(rows)
            or not 0 <= rows.min() <= rows.max() < len(train)
        ):
            raise ValueError(
                f"Expected numbers of {len(train)} training images, from 0, in --train_rows {args.train_rows}, as "
                "`numpy.save` writes them."
            )
        train = train[rows]
    return train, np.sort(order[:held])


def load_images(args: DataArguments) -> "tuple[dict[str, Dataset], str, tuple[str, ...]]":
    """The images to train on and, where there are any, to test on; the column of their labels, and all classes.

    Raises:
        ValueError: if there is no such data set, split, column or class.
    """
    name = str(args.dataset_name)
    train = load_rows(name, args.dataset_config, args.train_split, encoding=args.encoding)
    label, labels, known = class_labels(train, args.label_column)
    test = None
    if args.validation_samples is None:
        test = own_test_split(train, name, args.dataset_config, args.test_split, encoding=args.encoding)
    images = {"train": train} | ({} if test is None else {"test": test})
    if args.exclude_class:
        gone = {class_index(of_class, known) for of_class in args.exclude_class}
        images["train"] = train.select([row for row, of_row in enumerate(labels) if of_row not in gone])
    for split, most in {"train": args.max_train_samples, "test": args.max_test_samples}.items():
        if split in images and most is not None:
            images[split] = images[split].select(range(min(most, len(images[split]))))
    if args.value_range:
        images = {
            split: to_rgb(of_split, args.value_range, image=args.image_column) for split, of_split in images.items()
        }
    for of_split in images.values():
        image_column(of_split, args.image_column)
    return images, label, known
