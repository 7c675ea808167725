"""Options that several verbs share, and what they stand for."""

import os
from argparse import Action, ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.cli.questions import add_questions, is_file_of_questions, load_questions
from excise.cli.values import encoding, real, whole

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from excise.codes.search import Search
    from excise.codes.selection import Selection
    from excise.data.classes import ClassSets
    from excise.data.questions import QuestionSets
    from excise.data.topics import TopicSets
    from excise.report.record import Record
    from excise.storage.digests import DigestKey
    from excise.unlearner import Unlearner


# What sets say whose held-out examples are a part of the same data.
HELD_OUT = (
    "Held out are 30 % of the {of}. A model that was trained on all of the data has seen them, and is better measured "
    "on others: {where}."
)


def add_model(parser: ArgumentParser) -> None:
    """MODEL."""
    parser.add_argument("model", metavar="MODEL", help="model with bottlenecks: folder or Hub id")


def add_topic(parser: ArgumentParser, **options: Any) -> None:
    """TOPIC, and what files of questions need."""
    parser.add_argument(
        "topic",
        metavar="TOPIC",
        help="folder that `excise topic` or `excise classes` wrote, or of saved question sets; or a file of questions",
        **options,
    )
    add_questions(parser)


# Of the verbs that read data, those of trainings too.
ENCODING = (
    "of text files (CSV, TSV, JSON, lines) that are neither UTF-8 nor begin with a mark of their own: cp1252, latin-1, "
    "shift_jis, ..."
)
VALUE_RANGE = (
    "the values of black and white, such as `0 4095`: for images of more than 8 bits whose range is not known, and for "
    "arrays"
)


def add_encoding(parser: ArgumentParser) -> None:
    """--encoding."""
    parser.add_argument("--encoding", type=encoding, metavar="NAME", help=ENCODING)


def add_value_range(parser: "ArgumentParser | _ArgumentGroup") -> None:
    """--value-range."""
    parser.add_argument(
        "--value-range", type=float, nargs=2, action=_Range, metavar=("BLACK", "WHITE"), help=VALUE_RANGE
    )


class _Range(Action):
    """Two numbers that are the values of black and white."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None) -> None:
        """Refuses what is no range."""
        from excise.data.pixels import check_range

        try:
            namespace.value_range = check_range(values)
        except ValueError:
            shown = " ".join(f"{value:g}" for value in values)
            parser.error(
                f"argument --value-range: {shown}: expected the values of black and of white, the lower first, such as "
                "0 1, 0 255, 0 4095 or -1 1"
            )


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
        "--batch-size", type=whole(), default=default, metavar="N", help="examples a batch (default: %(default)s)"
    )


def add_test(parser: "ArgumentParser | _ArgumentGroup", others: tuple[str, ...] = ()) -> None:
    """--method and --positions, which are the topic's own where they are not given.

    Args:
        parser: what they are added to.
        others: methods beside the tests.
    """
    parser.add_argument(
        "--method",
        choices=("mcnemar", "fisher", "chi2", "paper", *others),
        help="test of enrichment"
        + (", or a search without one, which needs --count" if others else "")
        + " (default: mcnemar; of a class, which has no pairs, fisher)",
    )
    parser.add_argument(
        "--positions",
        choices=("topic", "all", "class_token"),
        help="count at the topic word's own tokens, at all, or of images at the class token (default: topic; of a "
        "class, all)",
    )


def add_search(parser: ArgumentParser, title: str = "how codes are found") -> None:
    """What `preset` reads."""
    group = parser.add_argument_group(
        title, "A preset, and what is to be otherwise in each of its searches (excise.codes.search lists them)."
    )
    presets = ("default", "paper", "class", "class_token", "pairs")
    own = "(default: default; of a class, class, or in a model with key-value pairs, pairs)"
    group.add_argument("--preset", choices=presets, default="default", help=own)
    add_test(group, others=("activations", "examples"))
    group.add_argument("--q", type=real(0, 1, "a rate"), metavar="RATE", help="false discovery rate")
    group.add_argument("--effect", type=real(0, 1, "a share"), metavar="SHARE", help="least difference in frequency")
    group.add_argument("--count", type=whole(), metavar="N", help="at most so many codes, the surest first")
    group.add_argument(
        "--share",
        type=real(0, 1, "a share"),
        metavar="SHARE",
        help="in place of --count: as many codes as make up this share of what fires in the forget set, the most "
        "frequent first (--method activations)",
    )
    group.add_argument(
        "--max-retain-ratio",
        type=real(what="a ratio"),
        metavar="RATIO",
        help="highest frequency in the retain set, as a multiple of that in the target",
    )


def preset(args: Namespace, topic: "TopicSets | ClassSets | QuestionSets") -> "str | tuple[Search, ...]":
    """The preset that was asked for, or what is the topic's own, or its searches with what was given besides."""
    from excise.codes.search import BY_FREQUENCY, Search, preset_for, searches_of

    names = ("method", "positions", "q", "effect", "count", "max_retain_ratio", "share")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.share is not None:
        args.method = given.setdefault("method", "activations")
    if args.method in BY_FREQUENCY:
        if args.count is None and args.share is None:
            or_share = " or --share" if args.method == "activations" else ""
            args.parser.error(f"--method {args.method} needs the number of codes or examples: give --count{or_share}")
        return (Search(**given, seed=args.seed),)
    if not given:
        return args.preset
    return tuple(replace(search, **given) for search in searches_of(preset_for(topic, args.preset)))


def load_sets(folder: str, args: Namespace | None = None) -> "TopicSets | ClassSets | QuestionSets":
    """TOPIC as sets, of words, of a class, or of questions.

    Args:
        folder: of the sets, or a file of questions.
        args: of a verb that takes such files; `model` and what `add_questions` declares.

    Raises:
        ValueError: if there are none in the folder, or they were changed; or as `load_questions`.
    """
    from excise.data.classes import ClassSets
    from excise.data.questions import QuestionSets
    from excise.data.topics import TopicSets

    if args is not None and is_file_of_questions(folder):
        return load_questions(args)
    if args is not None and (args.retain or args.name):
        args.parser.error(f"--retain and --name go with a file of questions, and {folder} is none")
    kinds: dict[str, Any] = {kind.kind: kind for kind in (ClassSets, QuestionSets)}
    return kinds.get(kind_of(folder), TopicSets).load(folder)


def is_class(folder: str) -> bool:
    """Whether TOPIC is a class; where there is nothing, words are meant."""
    return kind_of(folder) == "classes"


def kind_of(folder: str) -> str:
    """Which kind of sets there are in a folder; where there are none, words are meant."""
    from excise.data.forget_sets import RECORD
    from excise.storage.strict_json import read

    record = read(Path(folder, RECORD)) if Path(folder, RECORD).is_file() else {}
    kind = record.get("kind") if isinstance(record, dict) else None
    return kind if isinstance(kind, str) else "words"


def load_codes(file: str) -> "Selection":
    """The codes in a file.

    Raises:
        ValueError: if there is no such file, or it holds no codes; the message names it.
    """
    from excise.codes.selection import Selection
    from excise.storage.strict_json import read

    if not Path(file).is_file():
        raise ValueError(f"There is no file {file} of codes. Give what `excise unlearn --codes-out` wrote.")
    try:
        return Selection.from_dict(read(file))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} holds no codes that `excise unlearn --codes-out` wrote. {error}") from error


def check_codes(selection: "Selection", unlearner: "Unlearner", file: str) -> None:
    """Refuses codes that a model does not have, or that were chosen on another.

    Raises:
        ValueError: if so; the message names the file.
    """
    sites = {site: bottleneck.num_codes for site, bottleneck in unlearner.sites.items()}
    for site, ids in selection.codes.items():
        if site not in sites:
            raise ValueError(f"{file} holds codes of {site!r}, where the model has no bottleneck: it has {[*sites]}.")
        if ids[-1] >= sites[site]:
            raise ValueError(f"{file} holds code {ids[-1]} of {site!r}, which has codes 0 to {sites[site] - 1} only.")
    try:
        selection.checked(unlearner.sites)
    except ValueError as error:
        raise ValueError(
            f"{file} holds codes of another model, or of this one before more training. {error}"
        ) from error


def load_record(folder: str) -> "Record":
    """The record in a folder, or in the `report` of a model that was saved with one."""
    from excise.report.record import FILE, Record

    path = Path(folder)
    inside = path / "report"
    return Record.load(inside if not (path / FILE).is_file() and (inside / FILE).is_file() else path)


def check_folder(folder: str, what: str) -> None:
    """Refuses a folder that is not there.

    Raises:
        ValueError: if so.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"There is no folder {folder}. Give {what}.")
