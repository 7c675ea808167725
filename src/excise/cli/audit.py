"""Look through all that a repository on the Hub, or a local folder, holds for what a model was made to forget.

Give as MODEL the model before its codes were erased, masked as `excise unlearn` left it: with their rows at hand they
are found in any file. Of a model in which they are deleted, only tensors that still have something there are found.
The exit status is 1 if something is found, or a file could not be read.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from excise.cli.loading import load_unlearner
from excise.cli.options import add_model
from excise.cli.output import Output

HELP = "look through a repository for what was deleted"
EXAMPLES = """\
  excise audit model-unlearned me/t5-without-teacher
  excise audit model-unlearned bundle --json   # a local folder
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument("where", metavar="WHERE", help="name of a repository on the Hub, or a local folder")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    from excise.sharing import ErasedRows, audit_repo

    is_folder = Path(args.where).is_dir()
    if not is_folder and args.where.count("/") != 1:
        raise ValueError(f"There is no folder {args.where}, and no repository has such a name. Give one, as me/model.")
    unlearner = load_unlearner(args.model, device=args.device)
    erased = ErasedRows.of(unlearner.model)
    if not any(not request.undone for request in unlearner.ledger.requests):
        raise ValueError(f"{args.model} has forgotten nothing, so there is nothing to look for. Give another model.")
    if is_folder:
        leftovers = erased.find_in(args.where)
        found = [{"path": leftover.file, "found": str(leftover)} for leftover in leftovers]
        looked = f"every file of the folder {args.where}"
    else:
        findings = audit_repo(args.where, erased, token=None)
        found = [{"path": one.path, "refs": list(one.refs), "found": str(one)} for one in findings]
        looked = f"every file of every revision of {args.where}"
    codes = sum(len(unlearner.ledger.removed(site)) for site in unlearner.sites)
    lines = [f"Looked through {looked} for what is erased with {codes} codes: {len(found)} findings."]
    lines += [one["found"] for one in found]
    problems = (f"{len(found)} findings in {args.where}",) if found else ()
    return Output("\n".join(lines), {"where": args.where, "codes": codes, "findings": found}, problems)
