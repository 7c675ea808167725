"""Count which codes a topic's sentences use, and test each code for enrichment against the control.

The counts are for every S' up to --max-top-s at once; the table is for one of them.
"""

from argparse import ArgumentParser, Namespace
from typing import Any

from excise.cli.loading import load_unlearner
from excise.cli.options import add_batch_size, add_index, add_model, add_out_folder, add_test, add_topic, load_sets
from excise.cli.output import Output
from excise.cli.values import whole
from excise.storage.files import check_file, check_free

HELP = "count the codes of a topic and test them"
EXAMPLES = """\
  excise count model teacher --out teacher-counts
  excise count model teacher --top-s 24 --method fisher --table teacher.parquet --out teacher-counts-24
  excise count classifier cat --out cat-counts
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    add_topic(parser)
    add_out_folder(parser, "the counts")
    parser.add_argument("--table", metavar="FILE.parquet", help="write the table, one row per code, to a file")
    parser.add_argument(
        "--max-top-s",
        type=whole(),
        metavar="N",
        help="largest S' counted (default: 104, an index's own, or all live codes if fewer)",
    )
    parser.add_argument("--top-s", type=whole(), metavar="N", help="S' of the table (default: 3 x S)")
    add_test(parser)
    add_index(parser)
    add_batch_size(parser)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    from excise.codes.counting import MAX_TOP_S

    check_free(args.out)
    check_file(args.table)
    topic = load_sets(args.topic, args)
    method: Any
    method, positions = args.method or ("mcnemar" if topic.paired else "fisher"), args.positions or topic.positions
    unlearner = load_unlearner(args.model, args.index, args.device, topic)
    top_s = args.top_s or 3 * unlearner.top_s
    most = MAX_TOP_S if unlearner.index is None else unlearner.index.max_top_s
    fewest = min(int(bottleneck.live.sum()) for bottleneck in unlearner.sites.values())
    counts = unlearner.count_topic(
        topic,
        positions=positions,
        retain=True,  # what is kept is kept whole
        max_top_s=args.max_top_s or max(top_s, min(most, fewest)),
        batch_size=args.batch_size,
        progress=not args.quiet,
    )
    enrichment = counts.enrich(top_s, method)
    counts.save(args.out)
    if args.table:
        enrichment.save(args.table)
    return Output(
        f"{enrichment}\nCounts saved to {args.out}" + (f", the table to {args.table}" if args.table else ""),
        {
            "topic": topic.name,
            "codes_seen": len(enrichment),
            "top_s": top_s,
            "max_top_s": counts.max_top_s,
            "method": method,
            "positions": positions,
            "enriched": len(enrichment.select()),
            "out": args.out,
            "table": args.table,
        },
    )
