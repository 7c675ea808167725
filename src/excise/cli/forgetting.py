"""Steps that `unlearn` and `delete` share, from a topic to a model that has forgotten it."""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.cli.loading import load_unlearner
from excise.cli.options import (
    add_batch_size,
    add_index,
    add_model,
    add_out_folder,
    add_private,
    add_search,
    digest_key,
    load_sets,
    preset,
)
from excise.cli.output import Output
from excise.cli.values import real, whole
from excise.storage.files import check_file, check_free, new_file
from excise.storage.processes import by_main_process

if TYPE_CHECKING:
    from excise.codes.selection import Selection
    from excise.ledger.ledger import Request


def add_forgetting(parser: ArgumentParser, add_topic: Callable[[ArgumentParser], None]) -> None:
    """Declares what `forget` reads."""
    add_model(parser)
    add_topic(parser)
    add_out_folder(parser, "the model")
    parser.add_argument("--codes-out", metavar="FILE.json", help="write the selected codes and thresholds to a file")
    add_search(parser)
    parser.add_argument(
        "--counts", metavar="FOLDER", help="counts that `excise count` wrote of this model and topic: none are made"
    )
    add_index(parser)
    add_batch_size(parser)
    parser.add_argument(
        "--top-s", type=whole(), metavar="N", help="codes counted for each token, S' (default: the preset's)"
    )
    parser.add_argument(
        "--max-loss-rise",
        type=real(what="a share"),
        metavar="SHARE",
        help="as many codes as the retain set's loss allows: 0.01 lets it rise by 1 %%; needs references",
    )
    parser.add_argument(
        "--depth",
        choices=("codes", "rows"),
        help="what a deletion erases: the topic's codes alone, or the embedding rows of its own pieces, too (default: "
        "these, where some are its own and it is not private)",
    )
    add_private(parser)


def forget(args: Namespace, kind: str) -> Output:
    """Counts, selects, masks or deletes, and saves.

    Args:
        args: of `add_forgetting`.
        kind: `"mask"` or `"delete"`.
    """
    from excise.codes.budget import select_within_budget
    from excise.codes.topic_counts import TopicCounts
    from excise.data.classes import ClassSets

    if args.max_loss_rise is not None and args.count is not None:
        args.parser.error("--max-loss-rise decides how many codes: leave out --count")
    if not args.private and (args.label or args.key):
        args.parser.error("--label and --key go with --private")
    key_file = args.key or f"{args.out.rstrip('/')}.private.key"
    key = digest_key(key_file) if args.private else None
    check_free(args.out)
    check_file(key_file if args.private else None)
    check_file(args.codes_out)
    topic = load_sets(args.topic)
    if args.max_loss_rise is not None and topic.kind != "words":
        args.parser.error(f"--max-loss-rise is of texts, and {topic.name!r} is a class of images")
    searches = preset(args, topic)
    unlearner = load_unlearner(args.model, args.index, args.device)
    if getattr(topic, "private", None) and not args.key:
        key = None  # the sets have their own, and lie beside it
    seconds = {}
    start = time.perf_counter()
    options = {"batch_size": args.batch_size, "progress": not args.quiet}
    known = None if args.counts is None else TopicCounts.load(args.counts)
    counts = unlearner.count(topic, searches, max_top_s=args.top_s, counts=known, **options)
    seconds["count"] = time.perf_counter() - start

    start = time.perf_counter()
    if args.max_loss_rise is None or isinstance(topic, ClassSets):
        selection = counts.select(args.top_s)
    else:
        selection = select_within_budget(
            unlearner, counts, topic, top_s=args.top_s, max_loss_rise=args.max_loss_rise, **options
        )
    private: dict[str, Any] = {"label": args.label, "private": key or False} if args.private else {}
    request = (unlearner.mask if kind == "mask" else unlearner.delete)(selection, topic, depth=args.depth, **private)
    seconds[f"test and {kind}"] = time.perf_counter() - start

    start = time.perf_counter()
    unlearner.save_pretrained(args.out)
    if key and not Path(key_file).exists():
        key.save(key_file)
    seconds["save"] = time.perf_counter() - start
    if args.codes_out:
        _save(selection, args.codes_out)
    took = ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
    outcome = f"{unlearner.ledger.outcome(request)}\n" if kind == "delete" else ""
    data = {"request": request_data(request), "held_by": unlearner.ledger.held_by(request), "seconds": seconds}
    return Output(
        f"{selection!r}\n{request_line(request)}\n{outcome}Took: {took}\nSaved to {args.out}"
        + (f"\nThe key of its digests, to be kept and not published: {key_file}" if key else ""),
        data | {"out": args.out, "codes_out": args.codes_out} | ({"key": key_file} if key else {}),
    )


@by_main_process("path")
def _save(selection: "Selection", path: str) -> None:
    with new_file(path) as partial:
        partial.write_text(json.dumps(selection.to_dict(), indent=2) + "\n", encoding="utf-8")


def request_line(request: "Request") -> str:
    """A request as one line of a ledger."""
    state = f"undone {request.undone}" if request.undone else "in force"
    codes = ", ".join(f"{site}: {len(ids)}" for site, ids in request.codes.items())
    rows = f" and {request.num_rows} embedding rows" if request.rows and request.kind == "delete" else ""
    rows = f", {request.num_rows} embedding rows when deleted" if request.rows and request.kind == "mask" else rows
    what = f"{request.kind} {request.topic!r}, {request.num_codes} codes ({codes}){rows}"
    return f"Request {request.id}: {what}, {request.created}, {state}"


def request_data(request: "Request") -> dict[str, Any]:
    """A request as JSON values."""
    return asdict(request) | {"num_codes": request.num_codes}
