"""Show a model's ledger and how many codes are live, masked and deleted at each site; or what a code stands for.

With --code, the tokens of a data set that select it, masks lifted, and where it fits best.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.forgetting import request_data, request_line
from excise.cli.loading import DEMO, load_rows, load_unlearner
from excise.cli.options import add_model
from excise.cli.report import Report

HELP = "show the ledger and the codes of a model"
EXAMPLES = """\
  excise inspect model-unlearned
  excise inspect model --code encoder.block.2:17 --dataset pairs.parquet --text en
  excise inspect model-unlearned --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument("--code", metavar="SITE:ID", help="show what selects this code")
    parser.add_argument("--dataset", metavar="DATA", help=f"texts to look in: as in `excise topic`, {DEMO} included")
    parser.add_argument("--config", metavar="NAME", help="configuration of the data set")
    parser.add_argument("--split", default="train", help="its split (default: train)")
    parser.add_argument("--text", metavar="COLUMN", help="column, or key of a translation, as en")
    parser.add_argument("--max-rows", type=int, default=10_000, metavar="N", help="texts looked at (default: 10000)")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="tokens and contexts shown (default: 10)")


def run(args: Namespace) -> Report:
    """Runs the verb."""
    if args.code is None:
        return _inspect_model(args)
    if not (args.dataset and args.text):
        args.parser.error("--code needs texts to look in: give --dataset and --text")
    site, _, number = args.code.rpartition(":")
    if not (site and number.isdecimal()):
        args.parser.error(f"--code {args.code}: expected SITE:ID, such as encoder.block.2:17")
    return _inspect_code(args, site, int(number))


def _inspect_model(args) -> Report:
    unlearner = load_unlearner(args.model)
    ledger, sites, lines = unlearner.ledger, {}, []
    for site, bottleneck in unlearner.sites.items():
        deleted = len(ledger.removed(site, kinds=("delete",)))
        live = int(bottleneck.live.sum())
        config = bottleneck.config
        sites[site] = {
            "num_codes": config.num_codes,
            "top_s": config.top_s,
            "live": live,
            "masked": config.num_codes - live - deleted,
            "deleted": deleted,
        }
        lines.append(f"{site}: {', '.join(f'{value} {name}' for name, value in sites[site].items())}")
    lines += [request_line(request) for request in ledger.requests] or ["The ledger is empty: nothing was forgotten."]
    requests = [request_data(request) for request in ledger.requests]
    return Report("\n".join(lines), {"sites": sites, "requests": requests})


def _inspect_code(args, site: str, code: int) -> Report:
    from excise.cli.code_tokens import code_tokens
    from excise.topics.columns import read_column

    unlearner = load_unlearner(args.model)
    texts = [text for text in read_column(load_rows(args.dataset, args.config, args.split), args.text) if text]
    found = code_tokens(unlearner, texts[: args.max_rows], site, code, count=args.count, progress=not args.quiet)
    lines = [
        f"Code {code} of {site}, {found['state']}: selected by {found['selected']} of {found['tokens']} tokens "
        f"in {found['texts']} texts."
    ]
    lines += [f"{count:>7} x {token}" for token, count in found["top_tokens"].items()]
    lines += [f"  {row['similarity']:.3f}  {row['before']}[{row['token']}]{row['after']}" for row in found["contexts"]]
    return Report("\n".join(lines), {"site": site, "code": code} | found)
