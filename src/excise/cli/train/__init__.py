"""Train a T5 to translate: a plain one from a config, one that is there, or one with a codebook bottleneck.

The arguments are the ones below, and all of transformers' Seq2SeqTrainingArguments (--output_dir, --do_train,
--num_train_epochs, --learning_rate, --seed, ...). A run that was cut off goes on from its last checkpoint when the
command is given again.
"""

import argparse

from excise.cli.output import Output
from excise.cli.train.help import TrainingHelp
from excise.cli.train.options import passed_on

HELP = "train a T5 with or without a codebook"
EXAMPLES = """\
  excise train --model_name_or_path t5-small --codebook --train_file train.parquet --validation_file test.parquet \\
      --do_train --do_eval --predict_with_generate --output_dir model --num_train_epochs 3 --learning_rate 8e-4
  excise train --config_name t5-small --tokenizer_name t5-small --dataset_name books --source en --target fr \\
      --do_train --output_dir trained-from-nothing
"""
TAKES_REST = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    arguments = "excise.cli.train.arguments"
    parser.add_argument(
        "-h", "--help", action=TrainingHelp, const=arguments, help="show this and the arguments of the training"
    )


def run(args: argparse.Namespace) -> Output:
    """Runs the verb."""
    words = passed_on(args)
    from excise.cli.train.translation import main

    result = main(words, progress=not args.quiet, prog=args.parser.prog)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    return Output(f"Trained. {metrics}", {"metrics": result})
