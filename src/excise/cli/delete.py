"""Erase codes for good, and save the model into a new folder. What is saved there cannot be undone.

Either the codes of a mask (--request), or those found for a TOPIC as `excise unlearn` finds them. The model in MODEL
stays as it is: remove it yourself where the topic must be gone.
"""

from argparse import ArgumentParser, Namespace

from excise.cli.forgetting import add_forgetting, forget, request_data, request_line
from excise.cli.loading import load_unlearner
from excise.cli.options import add_topic
from excise.cli.output import Output
from excise.cli.values import whole
from excise.storage.files import check_free

HELP = "erase codes for good"
EXAMPLES = """\
  excise delete model-unlearned --request 1 --out model-final
  excise delete model teacher --q 0.01 --out model-deleted
  excise attack model-final --topic teacher --original model --attacks left-out,rounded
  excise delete classifier cat --method activations --share 0.95 --out classifier-deleted
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_forgetting(parser, lambda verb: add_topic(verb, nargs="?"))
    parser.add_argument(
        "--request", type=whole(), metavar="N", help="delete the codes of this mask, in place of a TOPIC's"
    )


def run(args: Namespace) -> Output:
    """Runs the verb."""
    if (args.topic is None) == (args.request is None):
        args.parser.error("give either a TOPIC or --request")
    if args.topic:
        return forget(args, "delete")
    if args.codes_out:
        args.parser.error("--codes-out goes with a TOPIC; the codes of a request are in the ledger")
    return _delete_mask(args)


def _delete_mask(args: Namespace) -> Output:
    check_free(args.out)
    unlearner = load_unlearner(args.model, device=args.device)
    request = unlearner.delete_request(args.request)
    unlearner.save_pretrained(args.out)
    text = f"{request_line(request)}\n{unlearner.ledger.outcome(request)}\nSaved to {args.out}"
    return Output(
        text, {"request": request_data(request), "held_by": unlearner.ledger.held_by(request), "out": args.out}
    )
