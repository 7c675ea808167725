"""Make the sets of a topic: its sentences, their control, and what is to stay, for selecting and for evaluating."""

from argparse import ArgumentParser, Namespace

from excise.cli.options import HELD_OUT, add_encoding, add_out_folder, add_private
from excise.cli.output import Output
from excise.cli.values import whole
from excise.data.reading import DEMO, load_rows
from excise.storage.extras import require
from excise.storage.files import check_free

HELP = "make the sets of a topic from a data set"
EXAMPLES = """\
  excise topic --dataset pairs.parquet --text en --reference fr --word teacher --out teacher
  excise topic --dataset books --split train --text en --reference fr --word car --word automobile --out car
  excise topic --dataset excise:demo --text en --reference fr --word "give up" --min-examples 6 --out give-up
  excise topic --dataset excise:demo --evaluation-split test --text en --reference fr --word dog --out dog
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="DATA",
        help=f"Hub id, local folder, or parquet, csv, json or jsonl file; {DEMO} is what excise carries",
    )
    parser.add_argument("--config", metavar="NAME", help="configuration of the data set, as en-fr")
    parser.add_argument("--split", default="train", help="its split (default: train); a file has one only")
    parser.add_argument(
        "--evaluation-dataset",
        metavar="DATA",
        help="where held-out sentences come from; without it, 30 %% of the texts of DATA are held out",
    )
    parser.add_argument(
        "--evaluation-split",
        metavar="SPLIT",
        help="its split (default: test); alone, a split of --dataset",
    )
    parser.add_argument(
        "--word", action="append", required=True, help="word, name or phrase of the topic; may be given again"
    )
    parser.add_argument(
        "--reading",
        metavar="READING",
        help="which reading a word has: name, word, noun, verb, adjective, adverb, or the word that it is a form of",
    )
    parser.add_argument("--forms", nargs="+", metavar="FORM", help="the exact forms to look for")
    parser.add_argument("--parts", action="store_true", help="the last word of a name stands for it alone: a surname")
    parser.add_argument("--text", required=True, metavar="COLUMN", help="source column, or key of a translation, as en")
    parser.add_argument("--reference", metavar="COLUMN", help="the same for the references, as fr")
    parser.add_argument("--replacement", action="append", metavar="WORD", help="what replaces the word in the control")
    parser.add_argument("--language", metavar="CODE", help="of the texts, as fr; told from the texts if not given")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="what the model expects before each source text")
    parser.add_argument(
        "--max-examples", type=whole(), default=500, metavar="N", help="most rows with it (default: 500)"
    )
    parser.add_argument(
        "--max-retain", type=whole(), default=1000, metavar="N", help="most rows without (default: 1000)"
    )
    parser.add_argument(
        "--min-examples", type=whole(), default=20, metavar="N", help="fewest rows of a set (default: 20)"
    )
    add_encoding(parser)
    add_out_folder(parser, "the sets")
    add_private(parser)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    from excise.data.forget_sets import KEY
    from excise.data.topics import topic_sets
    from excise.storage.digests import DigestKey

    require("text", purpose="excise topic")
    if args.private != (args.label is not None):
        args.parser.error("sets go by a label: give --private and --label, or neither")
    if args.key and not args.private:
        args.parser.error("--key goes with --private")
    check_free(args.out)
    evaluation = None
    if args.evaluation_dataset or args.evaluation_split:
        name = args.evaluation_dataset or args.dataset
        evaluation = load_rows(name, args.config, args.evaluation_split or "test", encoding=args.encoding)
    topic = topic_sets(
        load_rows(args.dataset, args.config, args.split, encoding=args.encoding),
        args.word,
        text=args.text,
        reference=args.reference,
        reading=args.reading,
        forms=args.forms,
        parts=args.parts,
        evaluation=evaluation,
        max_examples=args.max_examples,
        max_retain=args.max_retain,
        min_examples=args.min_examples,
        replacement=args.replacement,
        prefix=args.prefix,
        language=args.language,
        seed=args.seed,
        progress=not args.quiet,
    )
    if args.private:
        topic = topic.private_as(args.label, DigestKey.load(args.key) if args.key else None)
    topic.save(args.out)
    kept = f"\nThe key of its digests, to be kept and not published: {args.out}/{KEY}" if args.private else ""
    if evaluation is None:
        kept += f"\n{HELD_OUT.format(of='texts', where='--evaluation-dataset')}"
    words = {
        "words": list(topic.words),
        "inflections": list(topic.inflections),
        "taken": list(topic.taken),
        "samples": [
            {"target": target, "control": control}
            for target, control in zip(topic.target[:10]["text"], topic.control[:10]["text"], strict=True)
        ],
    }
    names = ("target", "control", "retain", "heldout", "heldout_retain")
    return Output(
        f"{topic}\nSaved to {args.out}{kept}",
        {
            "topic": topic.name,
            **({} if args.private else words),
            "rows": {name: len(getattr(topic, name)) for name in names},
            "counts": dict(topic.counts),
            "prefix": topic.prefix,
            "sha256": topic.digest(),
            "out": args.out,
        },
    )
