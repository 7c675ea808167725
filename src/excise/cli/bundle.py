"""Write what is shared of a model into a new folder: weights, processor, ledger, report, card, and code to load it.

Masks become deletions in it, unless --mode mask. Every file is read back for what was deleted. MODEL stays as it is.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from excise.cli.options import add_model, add_out_folder
from excise.cli.output import Output
from excise.cli.sharing import add_sharing, record_data, record_text, shared
from excise.storage.files import check_free

HELP = "write what is shared of a model into a folder"
EXAMPLES = """\
  excise bundle model-unlearned --record record --out bundle
  excise report bundle --out report-of-bundle
  excise bundle model-unlearned --mode mask --out bundle-to-undo
  excise bundle classifier-unlearned --record cat-record --compact --max-shard-size 1GB --out cat-bundle --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    add_sharing(parser)
    parser.add_argument("--no-remote-code", action="store_true", help="leave out the code to load it without excise")
    add_out_folder(parser, "the bundle")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    check_free(args.out)
    unlearner, record, options = shared(args, "excise bundle")
    written = unlearner.save_bundle(args.out, record, **options, remote_code=not args.no_remote_code)
    files = {
        path.relative_to(args.out).as_posix(): path.stat().st_size
        for path in sorted(Path(args.out).rglob("*"))
        if path.is_file()
    }
    size = sum(files.values())
    text = f"{record_text(written)}\n{len(files)} files, {size:,} bytes\nSaved to {args.out}"
    return Output(text, record_data(written) | {"files": files, "bytes": size, "out": args.out})
