"""Take a mask back, whatever came after it, and save the model into a new folder.

What other requests mask too stays masked, and deleted codes do not come back: how many came back is told. Where all of
them were deleted, it fails.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.forgetting import request_data, request_line
from excise.cli.loading import load_unlearner
from excise.cli.options import add_model, add_out_folder
from excise.cli.output import Output
from excise.cli.values import whole
from excise.storage.files import check_free

HELP = "take a mask back"
EXAMPLES = """\
  excise undo model-unlearned --request 1 --out model-again
  excise inspect model-unlearned   # shows the requests and their numbers
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument(
        "--request", type=whole(), required=True, metavar="N", help="number that `excise inspect` shows"
    )
    add_out_folder(parser, "the model")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    check_free(args.out)
    unlearner = load_unlearner(args.model, device=args.device)
    request = unlearner.undo(args.request)
    unlearner.save_pretrained(args.out)
    text = f"{request_line(request)}\n{unlearner.ledger.outcome(request)}\nSaved to {args.out}"
    return Output(
        text, {"request": request_data(request), "held_by": unlearner.ledger.held_by(request), "out": args.out}
    )
