"""Publish a model on the Hub, with its report and card, in one commit; nothing that was deleted is in it.

Masks become deletions in what is published, unless --mode mask. A deletion goes to a new repository: an old revision is
an un-deletion. It is pushed with the token of `hf auth login` or of the variable HF_TOKEN.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.options import add_model
from excise.cli.output import Output
from excise.cli.sharing import add_sharing, shared

HELP = "publish a model on the Hub"
EXAMPLES = """\
  excise push model-unlearned me/t5-without-teacher --record record
  excise push model-unlearned me/t5-to-undo --mode mask --private --commit-message "For us alone"
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument("repository", metavar="REPOSITORY", help="name on the Hub, as me/model; made if not there")
    add_sharing(parser)
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--private", action="store_true", help="the repository must be private (a new mask is anyway)")
    seen.add_argument("--public", action="store_true", help="the repository is to be public, of a mask too")
    parser.add_argument("--revision", metavar="BRANCH", help="branch (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="make a pull request instead")
    parser.add_argument("--commit-message", metavar="TEXT", help="of the commit")
    parser.add_argument(
        "--purge-history",
        action="store_true",
        help="remove all that was there before, for good, and look through what is left; it cannot be undone",
    )


def run(args: Namespace) -> Output:
    """Runs the verb."""
    unlearner, record, options = shared(args, "excise push")
    pushed = unlearner.push_to_hub(
        args.repository,
        record,
        **options,
        private=True if args.private else False if args.public else None,
        revision=args.revision,
        create_pr=args.create_pr,
        commit_message=args.commit_message,
        purge_history=args.purge_history,
    )
    audit = "" if pushed.audit is None else f"\nAudit: {pushed.audit}"
    data = {
        "repository": args.repository,
        "commit": pushed.oid,
        "url": pushed.commit_url,
        "pull_request": pushed.pr_url,
    }
    data["audit"] = None if pushed.audit is None else str(pushed.audit)
    return Output(f"Pushed to {pushed.pr_url or pushed.commit_url}{audit}", data)
