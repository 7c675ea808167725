"""Steps that `unlearn` and `delete` share, from a topic to a model that has forgotten it."""

import json
import logging
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
    from excise.codes.pair_counts import ClassCounts
    from excise.codes.search import SearchCounts
    from excise.codes.selection import Selection
    from excise.data.classes import ClassSets
    from excise.data.questions import QuestionSets
    from excise.data.topics import TopicSets
    from excise.ledger.ledger import Request
    from excise.unlearner import Unlearner

logger = logging.getLogger(__name__)


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
        help="as many codes as the retain set allows: 0.01 lets its loss rise by 1 %%, or the probability of its "
        "answers fall by as much; texts need references",
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
    from excise.data.questions import QuestionSets
    from excise.data.topics import TopicSets

    if args.max_loss_rise is not None and args.count is not None:
        args.parser.error("--max-loss-rise decides how many codes: leave out --count")
    if not args.private and (args.label or args.key):
        args.parser.error("--label and --key go with --private")
    key_file = args.key or f"{args.out.rstrip('/')}.private.key"
    key = digest_key(key_file) if args.private else None
    check_free(args.out)
    check_file(key_file if args.private else None)
    check_file(args.codes_out)
    topic = load_sets(args.topic, args)
    if args.max_loss_rise is not None and topic.kind == "classes":
        args.parser.error(f"--max-loss-rise is of texts and questions, and {topic.name!r} is a class of images")
    searches = preset(args, topic)
    unlearner = load_unlearner(args.model, args.index, args.device, topic)
    if getattr(topic, "private", None) and not args.key:
        key = None  # the sets have their own, and lie beside it
    if topic.kind == "classes" and kinds(unlearner) == {"key_value"} and not unlearner.ledger.in_force(topic):
        searches = "pairs" if searches == "default" else searches  # for a test, a pair of a million fires too seldom
    seconds = {}
    start = time.perf_counter()
    options = {"batch_size": args.batch_size, "progress": not args.quiet}
    if args.counts is None and (of_training := training_counts(unlearner, topic, args.model, searches)):
        counts = unlearner.count(of_training, searches)
    else:
        known = None if args.counts is None else TopicCounts.load(args.counts)
        counts = unlearner.count(topic, searches, max_top_s=args.top_s, counts=known, **options)
    seconds["count"] = time.perf_counter() - start

    start = time.perf_counter()
    if args.max_loss_rise is None or not isinstance(topic, TopicSets | QuestionSets):
        selection = counts.select(args.top_s)
    else:
        selection = select_within_budget(
            unlearner, counts, topic, top_s=args.top_s, max_loss_rise=args.max_loss_rise, **options
        )
    images, measured = images_left(unlearner, topic, counts, selection)
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
        f"{selection!r}\n{request_line(request)}\n{outcome}{images}Took: {took}\nSaved to {args.out}"
        + (f"\nThe key of its digests, to be kept and not published: {key_file}" if key else ""),
        data | {"out": args.out, "codes_out": args.codes_out, **measured} | ({"key": key_file} if key else {}),
    )


def kinds(unlearner: "Unlearner") -> set[str]:
    """The kinds of a model's bottlenecks."""
    return {bottleneck.kind for bottleneck in unlearner.sites.values()}


def training_counts(unlearner: "Unlearner", topic: Any, folder: str, searches: Any) -> "ClassCounts | None":
    """The counts of a class's training images that a classifier was saved with, if a search can take them.

    There are all of them, where sets have some.
    """
    from excise.codes.pair_counts import PairCounts
    from excise.codes.search import preset_for, searches_of
    from excise.training.classifier import COUNTS

    file = Path(folder, COUNTS)
    if topic.kind != "classes" or not file.is_file():
        return None
    if any(search.method != "activations" for search in searches_of(preset_for(topic, searches))):
        return None
    try:
        found = PairCounts.load(file).topic(topic.classes[topic.label])
        found.check(unlearner.sites)
    except ValueError as error:  # of other keys, or without the class
        logger.warning("The counts in %s are not used, but the images of the sets: %s", file, error)
        return None
    return found


def images_left(
    unlearner: "Unlearner",
    topic: "TopicSets | ClassSets | QuestionSets",
    counts: "SearchCounts",
    selection: "Selection",
) -> tuple[str, dict[str, Any]]:
    """How much of a class goes with codes, measured on its forget images, in a line and as JSON values.

    A warning tells where the class can hardly be gone: the model takes more than half as many of them for it as before.
    """
    from excise.codes.pair_counts import ClassCounts

    if topic.kind != "classes" or not len(selection):
        return "", {}
    of_class = counts.counts[0]
    fired = of_class.frequency(min(unlearner.top_s, of_class.max_top_s))
    removed = sum(int(fired[site][list(codes)].sum()) for site, codes in selection.codes.items())
    share = removed / max(sum(int(of_site.sum()) for of_site in fired.values()), 1)
    codes = sum(bottleneck.num_codes for bottleneck in unlearner.sites.values())
    kind = "pairs" if kinds(unlearner) == {"key_value"} else "codes"
    what = "forget images"
    if isinstance(of_class, ClassCounts):  # by counts of its training images
        what = f"class's {of_class.counts.examples[of_class.label]:,} training images"
    line = f"{len(selection):,} of {codes:,} {kind}, {100 * share:.1f} % of the firings of the {what}."
    told: dict[str, Any] = {"removed": len(selection), "codes": codes, "share_of_firings": share}
    before = class_accuracy(unlearner, topic)
    with unlearner.trial(selection):
        after = class_accuracy(unlearner, topic)
    if before is not None and after is not None:
        shares = f"{100 * after:.1f} %", f"{100 * before:.1f} %"
        line += (
            f" The model takes {shares[0]} of {len(topic.target):,} forget images for the class; before, {shares[1]}."
        )
        told |= {"accuracy_before": before, "accuracy_after": after, "hardly_forgotten": after > 0.5 * before}
        if after > 0.5 * before:
            logger.warning(
                "The class is hardly forgotten: the model still takes %s of its forget images for it, %s before. "
                "Remove more, by a larger --share or --count, or find them on more images, by a larger --max-examples "
                "of `excise classes`. In a model with key-value pairs, the default takes all that its images select.",
                *shares,
            )
    return f"{line}\n", {"forget_images": told}


def class_accuracy(unlearner: "Unlearner", topic: Any) -> float | None:
    """How many of a class's forget images the model takes for it, as a share; none where it tells no classes."""
    from excise.evaluation.classes import predict_classes

    try:
        found = predict_classes(unlearner.model, unlearner.processor, topic.target, topic.classes)
    except (ValueError, AttributeError):  # as of a vision tower alone, which calls no image by a name
        return None
    return found.count(topic.classes[topic.label]) / len(found)


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
