"""Train an image classifier with a key-value bottleneck on a frozen encoder (Unlearning via Sparse Representations).

In the style of transformers' `run_image_classification.py`: models and data sets are Hub ids or local paths. A folder
of images is a data set too: `train` and `test` in it, and in each a folder with the images of each class, by its name.
The same without this file: `excise train-classifier`.

    python examples/train/train_image_classifier.py --dataset_name cifar10 --output_dir cifar10-kv
    python examples/train/train_image_classifier.py --model_name_or_path microsoft/resnet-50 \
        --dataset_name ~/data/cifar10 --output_dir cifar10-resnet-kv

The encoder runs over each image once; its encodings are kept by `datasets`. Given the same arguments again, a run that
was cut off goes on from where it was. The defaults are table 4's for CIFAR-10; `--preset` takes all settings at once:
`paper-cifar100` and `paper-lacuna100`, the paper's for these, and `whitened`, ours, which classifies better.

To compare settings without a look at the test split, hold images out: `--validation_samples 5000`.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoImageProcessor, HfArgumentParser, TrainingArguments, set_seed

from excise import KeyValueConfig, KeyValueForImageClassification, encode_images
from excise.data import class_labels, load_rows
from excise.training import KEY_VALUE_PRESETS, train_classifier


@dataclass
class ModelArguments:
    preset: str | None = field(
        default=None, metadata={"help": "Settings at once; others beside it stand.", "choices": list(KEY_VALUE_PRESETS)}
    )
    model_name_or_path: str = field(
        default="openai/clip-vit-base-patch32", metadata={"help": "Vision encoder: Hub id or path."}
    )
    num_codebooks: int = 256
    num_pairs: int = field(default=4096, metadata={"help": "Key-value pairs of each codebook."})
    key_dim: int = 8
    top_k: int = field(default=1, metadata={"help": "Pairs selected in each codebook."})
    projection: str = field(default="random", metadata={"help": "`random`, or `chunk` for none."})
    value_init: str = field(default="normal", metadata={"help": "`normal`, `zeros` or `uniform`."})
    key_epochs: int = field(default=10, metadata={"help": "Passes over the encodings to initialise the keys."})
    components: int | None = field(
        default=None, metadata={"help": "Whitened principal components that heads are projections of; the paper: none."}
    )


@dataclass
class DataArguments:
    dataset_name: str = field(
        default="cifar10", metadata={"help": "Hub id, or a folder: of `save_to_disk`, or of images by class."}
    )
    image_column: str | None = field(default=None, metadata={"help": "The only one if not given."})
    label_column: str | None = field(default=None, metadata={"help": "The one of type ClassLabel if not given."})
    train_split: str = "train"
    test_split: str = "test"
    max_train_samples: int | None = field(default=None, metadata={"help": "Use the first so many training images."})
    max_test_samples: int | None = None
    validation_samples: int | None = field(
        default=None, metadata={"help": "Hold out so many training images, drawn at random, and test on these instead."}
    )
    train_rows: str | None = field(default=None, metadata={"help": "Train on these rows only: a file of `numpy.save`."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where encodings and pairs are kept."})
    encoder_dtype: str | None = field(
        default=None, metadata={"help": "What the encoder computes in: `bfloat16` is faster where hardware has it."}
    )


@dataclass
class KeyValueTrainingArguments(TrainingArguments):
    """Transformers' own, with table 4 as defaults."""

    output_dir: str = "key-value-classifier"
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
    save_total_limit: int = 1
    logging_strategy: str = "epoch"
    report_to: str = "none"


def load(args: DataArguments) -> DatasetDict:
    splits = {"train": load_rows(args.dataset_name, None, args.train_split)}
    if not args.validation_samples:
        splits["test"] = load_rows(args.dataset_name, None, args.test_split)
    limits = {"train": args.max_train_samples, "test": args.max_test_samples}
    return DatasetDict({n: part.select(range(min(len(part), limits[n] or len(part)))) for n, part in splits.items()})


def chosen(args: DataArguments, encodings: dict[str, Dataset]) -> dict[str, Dataset]:
    """The rows to train on and to test on: chosen among encodings, so that no image is encoded again for them."""
    train, test = encodings["train"], encodings.get("test")
    if args.validation_samples:
        order = np.random.default_rng(0).permutation(len(train))
        test = train.select(np.sort(order[: args.validation_samples]))
        train = train.select(np.sort(order[args.validation_samples :]))
    if args.train_rows:
        train = train.select(np.load(args.train_rows))
    return {"train": train, "test": test}


def encoder_dtype(args: DataArguments) -> torch.dtype | None:
    return getattr(torch, args.encoder_dtype) if args.encoder_dtype else None


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = HfArgumentParser((ModelArguments, DataArguments, KeyValueTrainingArguments))
    model_args, data_args, args = parser.parse_args_into_dataclasses(argv)
    if model_args.preset:  # its settings as if they had been given first
        words = sys.argv[1:] if argv is None else argv
        preset = KEY_VALUE_PRESETS[model_args.preset].words()
        model_args, data_args, args = parser.parse_args_into_dataclasses([*preset, *words])
    set_seed(args.seed)
    data = load(data_args)
    label, _, names = class_labels(data["train"], data_args.label_column)

    settings = {name: getattr(model_args, name) for name in ("num_codebooks", "num_pairs", "key_dim", "top_k")}
    bottleneck = KeyValueConfig(**settings, projection=model_args.projection, value_init=model_args.value_init)
    model = KeyValueForImageClassification.from_encoder(model_args.model_name_or_path, bottleneck, id2label=names)
    model.to(args.device)
    processor = AutoImageProcessor.from_pretrained(model_args.model_name_or_path)

    cache = {"cache_dir": data_args.cache_dir, "progress": not args.disable_tqdm}
    how = {"image": data_args.image_column, "label": label, "dtype": encoder_dtype(data_args)}
    encoded = {name: encode_images(model, part, processor, **how, **cache) for name, part in data.items()}
    rows = chosen(data_args, encoded)
    keys = {"key_epochs": model_args.key_epochs, "components": model_args.components}
    # Keys from the encodings, then the values by a Trainer. It saves the model and what was selected in training: with
    # these counts a class can be forgotten when its images are no longer at hand.
    metrics = train_classifier(model, processor, rows["train"], args, test=rows["test"], **keys, **cache)
    print(metrics)
    return metrics


if __name__ == "__main__":
    main(sys.argv[1:])
