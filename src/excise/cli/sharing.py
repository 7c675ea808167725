"""Options and steps that `bundle` and `push` share: what is written of a model, with which evidence."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from excise.cli.loading import load_unlearner
from excise.cli.options import check_folder, load_record, load_sets
from excise.cli.values import base_of
from excise.storage.extras import require

if TYPE_CHECKING:
    from excise.report.record import Record
    from excise.unlearner import Unlearner


def add_sharing(parser: ArgumentParser) -> None:
    """Declares what `shared` reads."""
    parser.add_argument(
        "--record", metavar="FOLDER", help="evidence for report and card, which `excise evaluate --record` wrote"
    )
    parser.add_argument(
        "--mode",
        choices=("delete", "mask"),
        default="delete",
        help="masks become deletions (default), or stay masks, which whoever has the model can undo",
    )
    parser.add_argument("--compact", action="store_true", help="take deleted codes out")
    parser.add_argument(
        "--base",
        type=base_of,
        metavar="ID@REVISION",
        help="write the bottlenecks alone; all other weights are those of this checkpoint, or of a folder",
    )
    parser.add_argument(
        "--max-shard-size", metavar="SIZE", help="largest file of weights, as 2GB (default: as transformers has it)"
    )
    parser.add_argument(
        "--private-topic",
        action="append",
        default=[],
        metavar="FOLDER",
        help="sets whose words and texts must be in no file; may be given again",
    )


def shared(args: Namespace, purpose: str) -> "tuple[Unlearner, Record | None, dict[str, Any]]":
    """The model, its record and the other arguments of `save_bundle` and `push_to_hub`; evidence is read first."""
    require("report", purpose=purpose)
    if args.record:
        check_folder(args.record, "what `excise evaluate --record` wrote")
    record = load_record(args.record) if args.record else None
    private = [load_sets(folder) for folder in args.private_topic]
    options = {"mode": args.mode, "compact": args.compact, "base": args.base, "max_shard_size": args.max_shard_size}
    return load_unlearner(args.model, device=args.device), record, options | {"private_topics": private}


def record_data(record: "Record") -> dict[str, Any]:
    """What a written record says, as JSON values."""
    checks = [{"name": check["name"], "passed": check["passed"]} for check in record.state["checks"]]
    return {
        "mode": record.state["mode"],
        "topics": record.in_force.topics,
        "verdicts": [one.to_dict() for one in record.verdicts],
        "checks": checks,
    }


def record_text(record: "Record") -> str:
    """The same for a reader."""
    from excise.report.verdict import headline

    lines = [f"{headline([one])} ({one.sentence})." for one in record.verdicts] or ["Nothing was measured."]
    checks = record.state["checks"]
    passed = sum(check["passed"] for check in checks)
    return "\n".join([*lines, f"Mode: {record.state['mode']}; {passed} of {len(checks)} checks passed"])
