"""Question sets of the command line: files of questions with answers, those that go and those that stay."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.cli.values import real

if TYPE_CHECKING:
    from excise.data.questions import QuestionSets

# How files of questions end; a folder is one of sets.
FILES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")


def add_questions(parser: ArgumentParser) -> None:
    """--retain, --name and --heldout."""
    group = parser.add_argument_group(
        "questions of a decoder, where TOPIC is a file of them (JSON, JSONL, CSV, parquet; `question` and `answer`)"
    )
    group.add_argument("--retain", metavar="FILE", help="questions that stay; without it, those that name nobody")
    group.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="person to be forgotten: of a file without --retain, the rows that name them; may be given again",
    )
    group.add_argument(
        "--heldout",
        type=real(0, 1, "a share"),
        default=0.2,
        metavar="SHARE",
        help="share of the rows kept for evaluating (default: 0.2); 0 takes all, where rows have paraphrases",
    )


def is_file_of_questions(name: str) -> bool:
    """Whether TOPIC is a file, and no folder of sets."""
    return Path(name).suffix.lower() in FILES and not Path(name).is_dir()


def load_questions(args: Namespace) -> "QuestionSets":
    """Sets made of the files that TOPIC and --retain name; the same each time for the same files, model and options.

    Raises:
        ValueError: if a file is not there, or as `question_sets`.
    """
    from excise.cli.loading import check_there
    from excise.data.inputs import tokenizer_of
    from excise.data.questions import question_sets
    from excise.models.loading import load_processor

    for file in (args.topic, args.retain):
        if file and not Path(file).is_file():
            raise ValueError(f"There is no file {file}. Give one of questions with answers, or a folder of sets.")
    if not args.retain and not args.name:
        args.parser.error("a file of questions needs --retain, those that stay, or --name, who is to be forgotten")
    check_there(args.model)
    tokenizer: Any = tokenizer_of(load_processor(args.model))
    options: dict[str, Any] = {"names": args.name, "heldout": args.heldout, "seed": args.seed}
    if not args.retain:
        options |= {"forget": args.name, "names": ()}
    return question_sets(args.topic, tokenizer, retain=args.retain, **options)
