"""Generate a topic's held-out sentences before, after, without the bottlenecks, and with random codes masked instead.

"After" is the model as it is saved, or, with --codes, with those codes masked for a trial. With --sweep, codes are
selected and tried at each S', and MODEL stays as it is. The model is never changed.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from excise.cli.loading import check_there, load_model, load_unlearner
from excise.cli.options import add_batch_size, add_index, add_model, add_search, add_topic, load_topic, preset
from excise.cli.output import Output
from excise.storage.extras import require
from excise.storage.files import check_file
from excise.storage.strict_json import read

if TYPE_CHECKING:
    from evaluate import Metric

    from excise.data.topics import TopicSets
    from excise.report.results import Evaluation
    from excise.unlearner import Unlearner

HELP = "score a topic's held-out sentences before and after"
EXAMPLES = """\
  excise evaluate model-unlearned teacher --out evaluation.json
  excise evaluate model teacher --codes codes.json --out trial.json
  excise evaluate model teacher --sweep 8,24,40,56,72,88,104 --out sweep.json --plot sweep.png
  excise evaluate model-unlearned teacher --base plain --out evaluation.json
  excise evaluate model-unlearned teacher --reference-model model-without-teacher \\
      --metrics meteor,bertscore:bert-base-multilingual-cased:9,bartscore:facebook/bart-large-cnn --out all.json
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
    parser.add_argument("--beams", type=int, default=1, metavar="N", help="beams of the search (default: 1, greedy)")
    parser.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="longest output (default: 128)")
    add_index(parser)
    add_batch_size(parser, default=64)
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="changed sentences shown (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the random codes (default: 0)")
    sweep = parser.add_argument_group("a sweep over S'")
    sweep.add_argument("--sweep", type=numbers, metavar="LIST", help="S' to try, joined by commas, as 8,24,40")
    sweep.add_argument("--plot", metavar="FILE", help="draw the sweep into a PNG or SVG file")
    add_search(parser, "how a sweep finds codes")


def numbers(text: str) -> tuple[int, ...]:
    """`8,24` as numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r}: expected whole numbers joined by commas, such as 8,24,40.") from None


def metric_names(text: str) -> tuple[tuple[str, ...], ...]:
    """`meteor,bartscore:PATH` as the parts of each metric."""
    found = []
    for part in text.split(","):
        name, _, rest = part.strip().partition(":")
        pieces = {"meteor": [], "bartscore": [rest], "bertscore": list(rest.rpartition(":")[::2])}.get(name)
        complete = all(pieces or ()) and bool(rest) == bool(pieces)
        if pieces is None or not complete or (name == "bertscore" and not pieces[1].isdecimal()):
            raise ArgumentTypeError(f"{part!r}: expected meteor, bertscore:MODEL:LAYER or bartscore:MODEL.")
        found.append((name, *pieces))
    return tuple(found)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    if args.sweep and args.codes:
        args.parser.error("--sweep selects codes itself: leave out --codes")
    if args.plot and not args.sweep:
        args.parser.error("--plot draws a sweep: give --sweep too")
    extras = {"text": True, "report": args.plot, "metrics": any(name == "bertscore" for name, *_ in args.metrics)}
    require(*(extra for extra, needed in extras.items() if needed), purpose="excise evaluate")
    check_file(args.out)
    if args.plot:
        from excise.report.plotting import image_kind

        image_kind(args.plot)
        check_file(args.plot)
    if args.base:
        check_there(args.base)
    unlearner, topic = load_unlearner(args.model, args.index), load_topic(args.topic)
    reference, reference_tokenizer = load_model(args.reference_model) if args.reference_model else (None, None)
    options = {
        "words": args.word,
        "reference_model": reference,
        "reference_tokenizer": reference_tokenizer,
        "base": args.base,
        "metrics": [_metric(*parts) for parts in args.metrics],
        "num_beams": args.beams,
        "max_new_tokens": args.max_new_tokens,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "progress": not args.quiet,
    }
    return (_sweep if args.sweep else _evaluate)(args, unlearner, topic, options)


def _evaluate(args: Namespace, unlearner: "Unlearner", topic: "TopicSets", options: dict[str, Any]) -> Output:
    from excise.codes.selection import Selection
    from excise.evaluation.texts import evaluate

    selection = Selection.from_dict(read(args.codes)) if args.codes else None
    result = evaluate(unlearner, topic, selection=selection, **options)
    result.save(args.out)
    examples = changed(result, args.examples)
    return Output(
        f"{result}\n{examples_text(examples)}\nSaved to {args.out}",
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


def _sweep(args: Namespace, unlearner: "Unlearner", topic: "TopicSets", options: dict[str, Any]) -> Output:
    from excise.evaluation.sweeps import sweep
    from excise.report.plots import plot_sweep
    from excise.report.record import Record

    result = sweep(unlearner, topic, top_s=args.sweep, preset=preset(args), **options)
    result.save(args.out)
    if args.plot:
        plot_sweep(result, args.plot, in_force=Record.of(unlearner.model).in_force)
    steps = {
        top_s: {"removed": step.removed, "scores": dict(step.scores), "drops": drops(step)}
        for top_s, step in result.evaluations.items()
    }
    return Output(
        f"{result}\nSaved to {args.out}" + (f", drawn in {args.plot}" if args.plot else ""),
        {"topic": result.topic, "steps": steps, "out": args.out, "plot": args.plot},
    )


def _metric(name: str, *settings: str) -> "Metric":
    from excise.evaluation.metrics import BartScore, BertScore, Meteor

    if name == "meteor":
        return Meteor()
    return BartScore(settings[0]) if name == "bartscore" else BertScore(settings[0], int(settings[1]))


def drops(result: "Evaluation") -> dict[str, float]:
    """What was lost, as shares: of BLEU, normalised where there is a reference model, by the bottleneck with a base."""
    from excise.report.measures import FORGET, RETAIN, Condition

    if not {Condition.BEFORE, Condition.AFTER} <= set(result.conditions):
        return {}
    shares = {f"{name}_bleu": result.relative_drop("bleu", name) for name in (FORGET, RETAIN)}
    if Condition.REFERENCE in result.conditions:
        shares["heldout_bleu_normalized"] = result.drop("bleu", FORGET) / 100
    if Condition.BASE in result.conditions:
        shares |= {f"{name}_bleu_bottleneck": result.bottleneck_cost(name, "bleu") for name in (FORGET, RETAIN)}
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
