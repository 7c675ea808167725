"""Question sets of the command line: files of questions with answers, and what `evaluate` makes of them."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.cli.output import Output
from excise.cli.values import real
from excise.storage.files import new_file
from excise.storage.processes import by_main_process

if TYPE_CHECKING:
    from excise.codes.selection import Selection
    from excise.data.questions import QuestionSets
    from excise.unlearner import Unlearner

# How files of questions end; a folder is one of sets.
FILES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
BEFORE, AFTER, LEFT_OUT = "before", "after", "left out"


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
        help="share of the rows kept for evaluating (default: 0.2); 0 takes all, where rows have paraphrases, as TOFU has",
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


def evaluate_asked(
    args: Namespace, unlearner: "Unlearner", topic: "QuestionSets", selection: "Selection | None" = None
) -> Output:
    """TOFU's measures before, after and with the bottlenecks left out, as `evaluate_questions` takes them."""
    from contextlib import nullcontext

    from excise.bottlenecks.site import left_out
    from excise.data.inputs import tokenizer_of
    from excise.evaluation import evaluate_questions
    from excise.models.loading import load_model

    refused = {
        "--sweep": args.sweep,
        "--word": args.word,
        "--metrics": args.metrics,
        "--base": args.base,
        "--record": args.record,
    }
    if given := [option for option, value in refused.items() if value]:
        args.parser.error(f"{', '.join(given)}: not of questions, whose measures are TOFU's; {topic.name!r} are such")
    if args.beams > 1:
        args.parser.error("--beams: answers to questions are generated greedily, as TOFU's measures have it")
    model: Any = unlearner.model
    tokenizer: Any = tokenizer_of(unlearner.processor)
    options: dict[str, Any] = {"batch_size": min(args.batch_size, 8), "max_new_tokens": args.max_new_tokens}
    options["progress"] = not args.quiet
    if args.reference_model:
        options["reference"] = load_model(args.reference_model).eval().to(model.device)

    def scores() -> Any:
        return evaluate_questions(model, tokenizer, topic, **options)

    deleted = any(request.kind == "delete" for request in unlearner.ledger.requests)
    found: dict[str, Any] = {}
    if not deleted:
        with unlearner.without_masks():
            found[BEFORE] = scores()
    with unlearner.trial(selection) if selection is not None else nullcontext():
        found[AFTER] = scores()
    with left_out(model):
        found[LEFT_OUT] = scores()
    _save(found, topic, args.out)
    lines = [f"{name}: {of!r}" for name, of in found.items()]
    data = {"topic": topic.name, "scores": {name: of.summary for name, of in found.items()}}
    data |= {"not_measured": found[AFTER].not_measured, "out": args.out}
    return Output("\n".join([*lines, f"Saved to {args.out}"]), data)


@by_main_process("path")
def _save(found: dict[str, Any], topic: "QuestionSets", path: str) -> None:
    from excise.storage.strict_json import json_values

    parts = {
        name: {"summary": of.summary, "logs": of.logs, "settings": of.settings, "not_measured": of.not_measured}
        for name, of in found.items()
    }
    with new_file(path) as partial:
        text = json.dumps(json_values({"topic": topic.name, "data": topic.digest(), **parts}), indent=2)
        partial.write_text(text + "\n", encoding="utf-8")
