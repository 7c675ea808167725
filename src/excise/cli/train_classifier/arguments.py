"""Arguments of a classifier's training beside transformers' `TrainingArguments`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from excise.cli.options import ENCODING, VALUE_RANGE
from excise.cli.train.options import at_least
from excise.data.text_encodings import known_encoding

# Those of `excise.training.KEY_VALUE_PRESETS`.
PRESET_NAMES = ["paper", "paper-cifar100", "paper-lacuna100", "whitened"]

if TYPE_CHECKING:  # the arguments are shown without loading a model
    from transformers import HfArgumentParser


@dataclass
class ModelArguments:
    """The frozen encoder and the pairs on it."""

    model_name_or_path: str = field(
        default="openai/clip-vit-base-patch32", metadata={"help": "Vision encoder: Hub id or path."}
    )
    preset: str | None = field(
        default=None,
        metadata={
            "help": "Settings of pairs and training at once; what is given beside it stands. `paper`: table 4's for "
            "CIFAR-10, the default; `paper-cifar100`, `paper-lacuna100`; `whitened`: ours, which classifies better.",
            "choices": PRESET_NAMES,
        },
    )
    num_codebooks: int = field(default=256, metadata={"help": "Codebooks, each with its projection of the encoding."})
    num_pairs: int = field(default=4096, metadata={"help": "Key-value pairs of each codebook."})
    key_dim: int = field(default=8, metadata={"help": "Width of the keys."})
    top_k: int = field(default=1, metadata={"help": "Pairs selected in each codebook."})
    projection: str = field(
        default="random", metadata={"help": "Of the encodings; `chunk`: parts of them.", "choices": ["random", "chunk"]}
    )
    value_init: str = field(
        default="normal", metadata={"help": "Values at first.", "choices": ["normal", "zeros", "uniform"]}
    )
    key_epochs: int = field(default=10, metadata={"help": "Passes over the encodings to initialise the keys."})
    components: int | None = field(
        default=None, metadata={"help": "Whitened principal components that heads are projections of; the paper: none."}
    )

    def __post_init__(self) -> None:
        at_least(self, 1, "num_codebooks", "num_pairs", "key_dim", "top_k", "components")
        at_least(self, 0, "key_epochs")


@dataclass
class DataArguments:
    """The images, with a column of class labels."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Data set: Hub id, folder of images, saved data set, or parquet file."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Its configuration."})
    image_column: str | None = field(default=None, metadata={"help": "The only one if not given."})
    label_column: str | None = field(default=None, metadata={"help": "The one of type ClassLabel if not given."})
    encoding: str | None = field(default=None, metadata={"help": ENCODING[0].upper() + ENCODING[1:]})
    value_range: list[float] | None = field(
        default=None, metadata={"help": VALUE_RANGE[0].upper() + VALUE_RANGE[1:] + "."}
    )
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    test_split: str | None = field(
        default=None, metadata={"help": "Split to measure accuracy on; if not given, `test` where there is one."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Use the first so many training images."})
    max_test_samples: int | None = field(default=None, metadata={"help": "The same of the test images."})
    validation_samples: int | None = field(
        default=None, metadata={"help": "Hold out so many training images, drawn at random, and test on these instead."}
    )
    train_rows: str | None = field(
        default=None, metadata={"help": "Train on these rows only, of those not held out: a file of `numpy.save`."}
    )
    exclude_class: list[str] | None = field(
        default=None, metadata={"help": "Train without the images of these classes: a model that never saw them."}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where encodings and pairs are kept."})
    encoder_dtype: str | None = field(
        default=None,
        metadata={
            "help": "What the encoder computes in, as `bfloat16`.",
            "choices": ["bfloat16", "float16", "float32"],
        },
    )

    def __post_init__(self) -> None:
        if self.dataset_name is None:
            raise ValueError("There are no images to train on: give --dataset_name.")
        at_least(self, 1, "max_train_samples", "max_test_samples", "validation_samples")
        if self.encoding is not None:
            self.encoding = known_encoding(self.encoding)
        if self.value_range is not None:
            from excise.data.pixels import check_range

            self.value_range = [*check_range(self.value_range)]


# `Any`: what transformers asks for, a `DataClassType`, is none of the types of dataclasses.
OWN_ARGUMENTS: Any = (ModelArguments, DataArguments)


def own_arguments() -> "HfArgumentParser":
    """A parser of what is added to transformers' `TrainingArguments`."""
    from transformers import HfArgumentParser

    return HfArgumentParser(OWN_ARGUMENTS, usage="", add_help=False)
