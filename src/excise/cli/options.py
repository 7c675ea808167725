"""Options that several verbs share, and what they stand for."""

import os
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from excise.codes.search import Search
    from excise.data.topics import TopicSets
    from excise.storage.digests import DigestKey


def add_model(parser: ArgumentParser) -> None:
    """MODEL."""
    parser.add_argument("model", metavar="MODEL", help="model with bottlenecks: folder or Hub id")


def add_topic(parser: ArgumentParser, **options: Any) -> None:
    """TOPIC."""
    parser.add_argument("topic", metavar="TOPIC", help="folder that `excise topic` wrote", **options)


def add_out_folder(parser: ArgumentParser, what: str) -> None:
    """--out, a folder."""
    parser.add_argument("--out", metavar="FOLDER", required=True, help=f"new or empty folder for {what}")


def add_private(parser: ArgumentParser) -> None:
    """--private, --label and --key."""
    group = parser.add_argument_group("a topic whose words nobody is to read")
    group.add_argument("--private", action="store_true", help="show and publish a label and numbers alone")
    group.add_argument("--label", metavar="TEXT", help="what it is called (default: the number of the request)")
    group.add_argument("--key", metavar="FILE", help="key of the digests of its data, to be kept; made if not there")


def digest_key(file: str) -> "DigestKey":
    """The key in a file, or a new one where there is none: it is to be saved there."""
    from excise.storage.digests import DigestKey

    return DigestKey.load(file) if os.path.exists(file) else DigestKey.new()


def add_index(parser: ArgumentParser) -> None:
    """--index."""
    parser.add_argument(
        "--index", metavar="FOLDER", help="what `excise index` made with this model: texts in it are not run to count"
    )


def add_batch_size(parser: ArgumentParser, default: int = 32) -> None:
    """--batch-size."""
    parser.add_argument(
        "--batch-size", type=int, default=default, metavar="N", help="sentences a batch (default: %(default)s)"
    )


def add_test(
    parser: "ArgumentParser | _ArgumentGroup", method: str | None = None, positions: str | None = None
) -> None:
    """--method and --positions, with these defaults."""
    shown = " (default: %(default)s)"
    parser.add_argument(
        "--method",
        choices=("mcnemar", "fisher", "chi2", "paper"),
        default=method,
        help="test of enrichment" + (shown if method else ""),
    )
    parser.add_argument(
        "--positions",
        choices=("topic", "all"),
        default=positions,
        help="count at the topic word's own tokens or at all tokens" + (shown if positions else ""),
    )


def add_search(parser: ArgumentParser, title: str = "how codes are found") -> None:
    """What `preset` reads."""
    group = parser.add_argument_group(
        title, "A preset, and what is to be otherwise in each of its searches (excise.codes.search lists them)."
    )
    group.add_argument("--preset", choices=("default", "paper"), default="default", help="(default: default)")
    add_test(group)
    group.add_argument("--q", type=float, metavar="RATE", help="false discovery rate")
    group.add_argument("--effect", type=float, metavar="SHARE", help="least difference in frequency")
    group.add_argument("--count", type=int, metavar="N", help="at most so many codes, the surest first")
    group.add_argument(
        "--max-retain-ratio",
        type=float,
        metavar="RATIO",
        help="highest frequency in the retain set, as a multiple of that in the target",
    )


def preset(args: Namespace) -> "str | tuple[Search, ...]":
    """The preset that was asked for, or its searches with what was given besides."""
    from excise.codes.search import searches_of

    names = ("method", "positions", "q", "effect", "count", "max_retain_ratio")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    return tuple(replace(search, **given) for search in searches_of(args.preset)) if given else args.preset


def load_topic(folder: str) -> "TopicSets":
    """TOPIC as sets."""
    from excise.data.topics import TopicSets

    return TopicSets.load(folder)
