"""Train an image classifier with key-value pairs on a frozen encoder, of which a class can be forgotten at once.

The arguments are the ones below, and all of transformers' TrainingArguments (--output_dir, --num_train_epochs,
--learning_rate, --seed, ...). The encoder runs over each image once. A run that was cut off goes on from where it was
when the command is given again. The defaults are the paper's for CIFAR-10.
"""

import argparse

from excise.cli.output import Output
from excise.cli.train.help import TrainingHelp
from excise.cli.train.options import passed_on

HELP = "train a classifier of images with key-value pairs"
EXAMPLES = """\
  excise train-classifier --model_name_or_path encoder --dataset_name images --output_dir classifier
  excise train-classifier --model_name_or_path encoder --dataset_name images --exclude_class cat --seed 1 \\
      --num_codebooks 64 --num_pairs 256 --num_train_epochs 10 --output_dir classifier-without-cat
"""
TAKES_REST = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    arguments = "excise.cli.train_classifier.arguments"
    parser.add_argument(
        "-h", "--help", action=TrainingHelp, const=arguments, help="show this and the arguments of the training"
    )


def run(args: argparse.Namespace) -> Output:
    """Runs the verb."""
    words = passed_on(args)
    from excise.cli.train_classifier.classification import main

    result = main(words, progress=not args.quiet, prog=args.parser.prog)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    folder = _output_dir(words)
    return Output(f"Trained. {metrics}\nSaved to {folder}", {"metrics": result, "out": folder})


def _output_dir(words: list[str]) -> str:
    """Where transformers' parser was told to save; the default if nowhere."""
    from excise.cli.train_classifier.classification import KeyValueTrainingArguments

    folder = str(KeyValueTrainingArguments.__dataclass_fields__["output_dir"].default)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name.replace("-", "_") == "__output_dir":
            folder = value or following
    return folder
