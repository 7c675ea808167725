"""Index the codes that each text of a corpus uses, in one pass, so that topics are counted without running the model.

What the folder holds already is not run again: an index grows with its corpus, and one that was interrupted goes on.
Verbs that count take it as --index. It holds digests of texts, by which these can be guessed: do not publish that of
private data.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from excise.cli.loading import load_unlearner
from excise.cli.options import add_batch_size, add_encoding, add_model
from excise.cli.output import Output
from excise.cli.values import whole
from excise.data.reading import DEMO, load_rows
from excise.storage.files import check_free

HELP = "index the codes of a corpus, for counting"
EXAMPLES = """\
  excise index model pairs.parquet --text en --max-top-s 24 --out codes-of-pairs
  excise index model books --split test --text en --out codes-of-books
  excise count model teacher --index codes-of-pairs --top-s 24 --out teacher-counts-by-index
  excise unlearn model teacher --index codes-of-pairs --out model-unlearned-by-index
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f"Hub id, local folder, or parquet, csv, json or jsonl file; {DEMO} is excise's own",
    )
    parser.add_argument("--config", metavar="NAME", help="configuration of the data set, as en-fr")
    parser.add_argument("--split", default="train", help="its split (default: train); a file has one only")
    parser.add_argument("--text", required=True, metavar="COLUMN", help="text column, or key of a translation, as en")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="what the model expects before each text")
    parser.add_argument(
        "--out", metavar="FOLDER", required=True, help="folder for the index: a new one, or that of one to add to"
    )
    parser.add_argument("--max-top-s", type=whole(), metavar="N", help="largest S' that it tells of (default: 3 x S)")
    add_encoding(parser)
    add_batch_size(parser, default=32)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    from excise.codes import CodeIndex

    out = Path(args.out)
    if out.exists() and not (out / "code_index.json").is_file():
        check_free(out)  # an index grows; anything else is left alone
    rows = load_rows(args.data, args.config, args.split, encoding=args.encoding)
    unlearner = load_unlearner(args.model, device=args.device)
    index = CodeIndex.build(
        unlearner.model,
        unlearner.processor,
        rows,
        args.out,
        text=args.text,
        prefix=args.prefix,
        max_top_s=args.max_top_s,
        batch_size=args.batch_size,
        progress=not args.quiet,
    )
    size = sum(path.stat().st_size for path in Path(args.out).iterdir())
    data = {"rows": len(rows), "texts": len(index), "max_top_s": index.max_top_s, "bytes": size, "out": args.out}
    return Output(f"{index}\nSaved to {args.out}", data)
