"""Train an image classifier with a key-value bottleneck on a frozen encoder (Unlearning via Sparse Representations).

In the style of transformers' `run_image_classification.py`: models and data sets are Hub ids or local paths. A folder
of images is a data set too: `train` and `test` in it, and in each a folder with the images of each class, by its name.
It is `excise train-classifier`, called from Python, whose arguments it takes.

    python examples/train/train_image_classifier.py --dataset_name cifar10 --output_dir cifar10-kv
    python examples/train/train_image_classifier.py --model_name_or_path microsoft/resnet-50 \
        --dataset_name ~/data/cifar10 --output_dir cifar10-resnet-kv

The encoder runs over each image once; its encodings are kept by `datasets`. Given the same arguments again, a run that
was cut off goes on from where it was. The defaults are table 4's for CIFAR-10; `--preset` takes all settings at once:
`paper-cifar100` and `paper-lacuna100`, the paper's for these, and `whitened`, ours, which classifies better.

To compare settings without a look at the test split, hold images out: `--validation_samples 5000`.
"""

import sys
from importlib.metadata import entry_points


def main(argv: list[str]) -> None:
    """Keys from the encodings of the images, then the values by a Trainer.

    It saves the model and what was selected in training: with these counts a class can be forgotten when its images are
    no longer at hand.
    """
    (excise,) = entry_points(group="console_scripts", name="excise")
    status = excise.load()(["train-classifier", "--dataset_name=cifar10", *argv])
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
