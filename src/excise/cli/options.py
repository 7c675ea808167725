"""The arguments that several verbs share, and what they stand for."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excise.enrichment import Enrichment
    from excise.profile import Profile
    from excise.selection import Selection
    from excise.topics import TopicSets
    from excise.unlearner import Unlearner

METHODS = ("mcnemar", "fisher", "chi2", "paper")


def add_model(parser: ArgumentParser) -> None:
    """MODEL."""
    parser.add_argument("model", metavar="MODEL", help="model with bottlenecks: folder or Hub id")


def add_topic(parser: ArgumentParser, **options) -> None:
    """TOPIC."""
    parser.add_argument("topic", metavar="TOPIC", help="folder that `excise topic` wrote", **options)


def add_out_folder(parser: ArgumentParser, what: str) -> None:
    """--out, a folder."""
    parser.add_argument("--out", metavar="FOLDER", required=True, help=f"new or empty folder for {what}")


def add_profiling(parser: ArgumentParser) -> None:
    """What `profiled` and `top_s` read."""
    group = parser.add_argument_group("how codes are counted and tested")
    group.add_argument("--top-s", type=int, metavar="N", help="codes counted for each token, S' (default: 3 x S)")
    group.add_argument("--method", choices=METHODS, default="mcnemar", help="test of enrichment (default: mcnemar)")
    group.add_argument(
        "--positions",
        choices=("topic", "all"),
        default="topic",
        help="count at the topic word's own tokens or at all tokens (default: topic)",
    )
    group.add_argument("--batch-size", type=int, default=32, metavar="N", help="sentences a batch (default: 32)")


def add_selection(parser: ArgumentParser) -> None:
    """What `selected` reads."""
    group = parser.add_argument_group("which codes are selected")
    group.add_argument("--q", type=float, default=0.05, metavar="RATE", help="false discovery rate (default: 0.05)")
    group.add_argument(
        "--effect", type=float, default=0.0, metavar="SHARE", help="least difference in frequency (default: 0)"
    )
    group.add_argument("--count", type=int, metavar="N", help="at most so many codes, the surest first")
    group.add_argument(
        "--max-retain-ratio",
        type=float,
        metavar="RATIO",
        help="highest frequency in the retain set, as a multiple of that in the target",
    )


def load_topic(folder: str) -> TopicSets:
    """TOPIC as sets."""
    from excise.topics import TopicSets

    return TopicSets.load(folder)


def top_s(args: Namespace, unlearner: Unlearner) -> int:
    """S': as asked for, or three times the model's S."""
    return args.top_s or 3 * max(bottleneck.config.top_s for bottleneck in unlearner.sites.values())


def profiled(args: Namespace, unlearner: Unlearner, topic: TopicSets, max_top_s: int) -> Profile:
    """The counts of a topic, for S' up to `max_top_s`."""
    return unlearner.profile(
        topic,
        positions=args.positions,
        retain=getattr(args, "max_retain_ratio", 0) is not None,  # `profile` keeps its counts: it has them all
        max_top_s=max_top_s,
        batch_size=args.batch_size,
        progress=not args.quiet,
    )


def selected(args: Namespace, enrichment: Enrichment) -> Selection:
    """The codes that pass the thresholds."""
    return enrichment.select(q=args.q, effect=args.effect, count=args.count, max_retain_ratio=args.max_retain_ratio)
