"""Generate a topic's held-out sentences before, after, without the bottlenecks, and with random codes masked instead.

"After" is the model as it is saved, or, with --codes, with those codes masked for a trial. With --sweep, codes are
selected and tried at each S', and MODEL stays as it is. The model is never changed.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.cli.loading import check_there, load_model, load_unlearner
from excise.cli.options import (
    add_batch_size,
    add_index,
    add_model,
    add_search,
    add_topic,
    check_codes,
    is_class,
    load_codes,
    load_sets,
    preset,
)
from excise.cli.output import Output
from excise.cli.values import metric_names, numbers, whole
from excise.storage.extras import require
from excise.storage.files import check_file, check_free

if TYPE_CHECKING:
    from evaluate import Metric

    from excise.codes.search import Search
    from excise.data.classes import ClassSets
    from excise.data.questions import QuestionSets
    from excise.data.topics import TopicSets
    from excise.report.results import Evaluation
    from excise.report.sweep import Sweep
    from excise.unlearner import Unlearner

HELP = "score a topic's held-out sentences before and after"
EXAMPLES = """\
  excise evaluate model-unlearned teacher --out evaluation.json --record record
  excise evaluate model teacher --codes codes.json --out trial.json
  excise evaluate model teacher --sweep 8,24,40 --out sweep.json --plot sweep.png
  excise evaluate model-unlearned teacher --base plain --out evaluation-with-base.json
  excise evaluate model-unlearned teacher --reference-model model-without-teacher \\
      --metrics meteor,bertscore:bert-base-multilingual-cased:9,bartscore:bart-large-cnn --out evaluation-by-all.json
  excise evaluate decoder-unlearned forget.jsonl --retain retain.jsonl --heldout 0 --out answers.json
  excise evaluate classifier-unlearned cat --out cat-evaluation.json --record cat-record
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    add_topic(parser)
    parser.add_argument("--out", metavar="FILE.json", required=True, help="file for scores and outputs")
    parser.add_argument("--reference-model", metavar="MODEL", help="one that never saw the topic: for normalised drops")
    parser.add_argument(
        "--base", metavar="MODEL", help="the plain model that the bottlenecks were put into: their cost"
    )
    parser.add_argument(
        "--metrics",
        type=metric_names,
        default=(),
        metavar="LIST",
        help="beside BLEU, chrF and topic recall: meteor, bertscore:MODEL:LAYER, bartscore:MODEL; joined by commas",
    )
    parser.add_argument("--word", action="append", help="word that topic recall looks for (default: found on the sets)")
    parser.add_argument(
        "--codes", metavar="FILE.json", help="try these codes of this model, which `excise unlearn --codes-out` wrote"
    )
    parser.add_argument(
        "--beams", type=whole(), default=1, metavar="N", help="beams of the search (default: 1, greedy)"
    )
    parser.add_argument(
        "--max-new-tokens", type=whole(), default=128, metavar="N", help="longest output (default: 128)"
    )
    add_index(parser)
    add_batch_size(parser, default=64)
    parser.add_argument(
        "--examples", type=whole(0), default=5, metavar="N", help="changed sentences shown (default: 5)"
    )
    record = parser.add_argument_group("the record, for `excise report`, `bundle` and `push`")
    record.add_argument("--record", metavar="FOLDER", help="new or empty folder for it")
    record.add_argument(
        "--attacks", action="append", default=[], metavar="FILE.json", help="what `excise attack --out` wrote goes in"
    )
    record.add_argument("--table", metavar="FILE.parquet", help="what `excise count --table` wrote goes in")
    sweep = parser.add_argument_group("a sweep over S'")
    sweep.add_argument("--sweep", type=numbers, metavar="LIST", help="S' to try, joined by commas, as 8,24,40")
    sweep.add_argument("--plot", metavar="FILE", help="draw the sweep into a PNG or SVG file")
    add_search(parser, "how a sweep finds codes")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    check_usage(args)
    extras = {
        "text": not is_class(args.topic),
        "report": args.plot or args.record,
        "metrics": any(name == "bertscore" for name, *_ in args.metrics),
    }
    require(*(extra for extra, needed in extras.items() if needed), purpose="excise evaluate")
    check_file(args.out)
    if args.record:
        check_free(args.record)
    if args.plot:
        from excise.report.plotting import image_kind

        image_kind(args.plot)
        check_file(args.plot)
    for other in (args.base, args.reference_model):
        if other:
            check_there(other)
    evidence = _evidence(args)
    selection = load_codes(args.codes) if args.codes else None
    topic = load_sets(args.topic, args)
    if topic.kind == "words":
        options = {
            "words": args.word,
            "metrics": [_metric(*parts) for parts in args.metrics],
            "num_beams": args.beams,
            "max_new_tokens": args.max_new_tokens,
        }
    else:
        if args.word or args.metrics or args.beams > 1:
            what = "a class of images" if topic.kind == "classes" else "questions with answers"
            args.parser.error(f"--word, --metrics and --beams are of texts, and {topic.name!r} is {what}")
        options = {"max_new_tokens": args.max_new_tokens} if topic.kind == "questions" else {}
    searches = preset(args, topic) if args.sweep else "default"
    unlearner = load_unlearner(args.model, args.index, args.device, topic)
    if selection is not None:
        check_codes(selection, unlearner, args.codes)
    if args.reference_model:
        reader = "reference_processor" if topic.kind == "classes" else "reference_tokenizer"
        options["reference_model"], options[reader] = load_model(args.reference_model, args.device)
    options |= {
        "base": args.base,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "progress": not args.quiet,
    }
    result: Evaluation | Sweep
    if args.sweep:
        result, output = _sweep(args, unlearner, topic, searches, options)
    else:
        result, output = _evaluate(args, unlearner, topic, options | {"selection": selection})
    if not args.record:
        return output
    from excise.report.record import Record

    Record.of(unlearner.model, evaluations=[result], **evidence, settings={"seed": args.seed}).save(args.record)
    return Output(f"{output.text}\nRecord in {args.record}", output.data | {"record": args.record})


def check_usage(args: Namespace) -> None:
    """Refuses options that do not go together."""
    if args.sweep and args.codes:
        args.parser.error("--sweep selects codes itself: leave out --codes")
    if args.plot and not args.sweep:
        args.parser.error("--plot draws a sweep: give --sweep too")
    if args.record and args.codes:
        args.parser.error("--record is of the codes that the model has masked, and --codes of others: give one of them")
    if not args.record and (args.attacks or args.table):
        args.parser.error("--attacks and --table go into a record: give --record too")


def _evidence(args: Namespace) -> dict[str, Any]:
    """What else goes into the record, read before a model is loaded."""
    for file in (*args.attacks, args.table):
        if file and not Path(file).is_file():
            raise ValueError(f"There is no file {file}. Give what `excise attack --out` or `count --table` wrote.")
    evidence: dict[str, Any] = {}
    if args.attacks:
        from excise.report.attacks import AttackReport

        evidence["attacks"] = [AttackReport.load(file) for file in args.attacks]
    if args.table:
        from excise.codes.enrichment import Enrichment

        evidence["enrichments"] = {load_sets(args.topic, args).name: Enrichment.load(args.table)}
    return evidence


def _evaluate(
    args: Namespace, unlearner: "Unlearner", topic: "TopicSets | ClassSets | QuestionSets", options: dict[str, Any]
) -> "tuple[Evaluation, Output]":
    from excise.evaluation import evaluate, evaluate_answers, evaluate_classes

    of_kind: dict[str, Any] = {"words": evaluate, "questions": evaluate_answers, "classes": evaluate_classes}
    result = of_kind[topic.kind](unlearner, topic, **options)
    result.save(args.out)
    examples = changed(result, 0 if topic.kind == "classes" else args.examples)
    return result, Output(
        "\n".join([str(result), *([examples_text(examples)] if examples else []), f"Saved to {args.out}"]),
        {
            "topic": result.topic,
            "words": list(result.words),
            "removed": result.removed,
            "scores": dict(result.scores),
            "drops": drops(result),
            "nothing_to_forget": result.nothing_to_forget,
            "notes": result.notes,
            "examples": examples,
            "out": args.out,
        },
    )


def _sweep(
    args: Namespace,
    unlearner: "Unlearner",
    topic: "TopicSets | ClassSets | QuestionSets",
    searches: "str | tuple[Search, ...]",
    options: dict[str, Any],
) -> "tuple[Sweep, Output]":
    from excise.evaluation import sweep
    from excise.report.plots import plot_sweep
    from excise.report.record import Record

    result = sweep(unlearner, topic, top_s=args.sweep, preset=searches, **options)
    result.save(args.out)
    if args.plot:
        plot_sweep(result, args.plot, in_force=Record.of(unlearner.model).in_force)
    steps = {
        top_s: {"removed": step.removed, "scores": dict(step.scores), "drops": drops(step)}
        for top_s, step in result.evaluations.items()
    }
    return result, Output(
        f"{result}\nSaved to {args.out}" + (f", drawn in {args.plot}" if args.plot else ""),
        {"topic": result.topic, "steps": steps, "out": args.out, "plot": args.plot},
    )


def _metric(name: str, *settings: str) -> "Metric":
    from excise.evaluation.metrics import BartScore, BertScore, Meteor

    if name == "meteor":
        return Meteor()
    return BartScore(settings[0]) if name == "bartscore" else BertScore(settings[0], int(settings[1]))


def drops(result: "Evaluation") -> dict[str, float]:
    """What was lost, as shares: of BLEU or accuracy, normalised where there is a reference model, by the bottleneck."""
    from excise.report.measures import FORGET, RETAIN, Condition

    if not {Condition.BEFORE, Condition.AFTER} <= set(result.conditions):
        return {}
    score = result.telling(RETAIN) or "bleu"
    shares = {f"{name}_{score}": result.relative_drop(score, name) for name in (FORGET, RETAIN)}
    if Condition.REFERENCE in result.conditions:
        shares[f"{FORGET}_{score}_normalized"] = result.drop(score, FORGET) / 100
    if Condition.BASE in result.conditions:
        shares |= {f"{name}_{score}_bottleneck": result.bottleneck_cost(name, score) for name in (FORGET, RETAIN)}
    return shares


def changed(result: "Evaluation", count: int) -> list[dict[str, str]]:
    """Sentences whose output changed; none where there is no model before."""
    from excise.report.measures import Condition

    return result.examples(count) if Condition.BEFORE in result.outputs else []


def examples_text(examples: list[dict[str, str]]) -> str:
    """Sentences with their outputs, a line for each."""
    return "\n".join(
        "\n".join([f"- {row['text']}", *(f"    {name:9} {row[name]}" for name in ("reference", "before", "after"))])
        for row in examples
    )
