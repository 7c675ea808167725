"""From a topic to a model that has forgotten it: what `unlearn` and `delete` have in common."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from excise.cli.loading import load_unlearner
from excise.cli.options import (
    add_model,
    add_out_folder,
    add_profiling,
    add_selection,
    load_topic,
    profiled,
    refuse_used,
    selected,
    top_s,
)
from excise.cli.report import Report

if TYPE_CHECKING:
    from excise.ledger import Request


def add_forgetting(parser: ArgumentParser, add_topic: Callable[[ArgumentParser], None]) -> None:
    add_model(parser)
    add_topic(parser)
    add_out_folder(parser, "the model")
    parser.add_argument("--codes-out", metavar="FILE.json", help="write the selected codes and thresholds to a file")
    add_selection(parser)
    add_profiling(parser)


def forget(args: Namespace, kind: str) -> Report:
    """Profiles, selects, masks or deletes, and saves.

    Args:
        args: of `add_forgetting`.
        kind: `"mask"` or `"delete"`.
    """
    from excise.files import new_file

    refuse_used(args.out)
    unlearner, topic = load_unlearner(args.model), load_topic(args.topic)
    seconds = {}
    start = time.perf_counter()
    at = top_s(args, unlearner)
    enrichment = profiled(args, unlearner, topic, at).enrich(at, args.method)
    seconds["profile and test"] = time.perf_counter() - start

    start = time.perf_counter()
    selection = selected(args, enrichment)
    request = (unlearner.mask if kind == "mask" else unlearner.delete)(selection, topic)
    seconds[f"select and {kind}"] = time.perf_counter() - start

    start = time.perf_counter()
    unlearner.save_pretrained(args.out)
    seconds["save"] = time.perf_counter() - start
    if args.codes_out:
        with new_file(args.codes_out) as partial:
            partial.write_text(json.dumps(selection.to_dict(), indent=2) + "\n", encoding="utf-8")
    took = ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
    return Report(
        f"{selection!r}\n{request_line(request)}\nTook: {took}\nSaved to {args.out}",
        {"request": request_data(request), "seconds": seconds, "out": args.out, "codes_out": args.codes_out},
    )


def request_line(request: Request) -> str:
    """A request as one line of a ledger."""
    state = f"undone {request.undone}" if request.undone else "in force"
    codes = ", ".join(f"{site}: {len(ids)}" for site, ids in request.codes.items())
    return f"Request {request.id}: {request.kind} {request.topic!r}, {request.num_codes} codes ({codes}), {request.created}, {state}"


def request_data(request: Request) -> dict[str, Any]:
    """A request as JSON values."""
    return asdict(request) | {"num_codes": request.num_codes}
