"""Try to get back what a model was made to forget, as somebody could who has the file; a line and a verdict an attack.

If the topic is masked in MODEL, or not forgotten, a copy is attacked in which it is deleted, as `excise delete` does.
MODEL stays as it is. The exit status is 0 whatever the verdict, unless --fail-if-not-withstood is given.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.loading import check_there, load_unlearner
from excise.cli.options import add_batch_size, add_index, add_model, load_sets
from excise.cli.output import Output
from excise.cli.questions import add_questions
from excise.cli.values import names, whole
from excise.storage.extras import require
from excise.storage.files import check_file

HELP = "try to get back what was forgotten"
EXAMPLES = """\
  excise attack model-unlearned --topic teacher --never-saw model-without-teacher --out attacks.json
  excise evaluate model-unlearned teacher --out again.json --attacks attacks.json --record record-with-attacks
  excise attack model-unlearned --topic teacher --attacks rounded --fail-if-not-withstood
  excise attack model-unlearned --topic teacher --attacks all --resume attacks
  excise attack classifier-unlearned --topic cat --attacks made-again,rounded
  excise attack decoder-unlearned --topic forget.jsonl --retain retain.jsonl --attacks left-out
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument(
        "--topic",
        metavar="TOPIC",
        required=True,
        help="folder of sets that `excise topic` or `classes` wrote, or of saved question sets; or a file of questions",
    )
    add_questions(parser)
    parser.add_argument("--holdout", metavar="FILE", help="questions that no model has seen, for membership")
    parser.add_argument(
        "--original",
        metavar="MODEL",
        help="the model before the topic was deleted: without it, what came back is unknown",
    )
    parser.add_argument("--never-saw", metavar="MODEL", help="one of the same recipe that never saw the topic")
    parser.add_argument(
        "--attacks",
        type=names,
        default=("quick",),
        metavar="LIST",
        help="quick (default), all, or names joined by commas",
    )
    parser.add_argument(
        "--word", action="append", help="word that counts where it comes out (default: found on the sets)"
    )
    parser.add_argument("--out", metavar="FILE.json", help="file for the report, which a record takes")
    parser.add_argument(
        "--resume", metavar="FOLDER", help="keep each result there, and go on from those that are there"
    )
    parser.add_argument(
        "--fail-if-not-withstood", action="store_true", help="exit with 1 if an attack is not withstood"
    )
    parser.add_argument("--max-new-tokens", type=whole(), default=48, metavar="N", help="longest output (default: 48)")
    add_index(parser)
    add_batch_size(parser, default=64)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    require("text", purpose="excise attack")
    check_file(args.out)
    for model in (args.original, args.never_saw):
        if model:
            check_there(model)
    from excise.attacks.suite import chosen_attacks
    from excise.report.attacks import NOT_WITHSTOOD

    topic = load_sets(args.topic, args)
    if args.holdout and topic.kind != "questions":
        args.parser.error(f"--holdout is of questions, and {topic.name!r} are none")
    chosen_attacks(args.attacks, of_texts=topic.kind != "classes")  # before a model is loaded
    report = load_unlearner(args.model, args.index, args.device, topic).attack(
        topic,
        original=args.original,
        never_saw=args.never_saw,
        attacks=args.attacks,
        words=args.word,
        checkpoint=args.resume,
        seed=args.seed,
        max_new_tokens=args.max_new_tokens,
        batch_size=args.batch_size,
        holdout=args.holdout,
        progress=not args.quiet,
    )
    if args.out:
        report.save(args.out)
    lost = [result.attack for result in report.results if result.verdict == NOT_WITHSTOOD]
    problems = (f"not withstood: {', '.join(lost)}",) if lost and args.fail_if_not_withstood else ()
    data = report.to_dict() | {"verdict": report.verdict, "counts": report.counts, "notes": report.notes}
    return Output(str(report) + (f"\nSaved to {args.out}" if args.out else ""), data | {"out": args.out}, problems)
