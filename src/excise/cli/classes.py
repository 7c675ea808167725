"""Make the sets of a class: its images, those of others, and what is to stay, for selecting and for evaluating."""

from argparse import ArgumentParser, Namespace

from excise.cli.options import HELD_OUT, add_encoding, add_out_folder, add_private, add_value_range
from excise.cli.output import Output
from excise.cli.values import whole
from excise.data.reading import load_rows, own_test_split
from excise.storage.files import check_free

HELP = "make the sets of a class of images"
EXAMPLES = """\
  excise classes --dataset images --class cat --out cat
  excise classes --dataset images --test-split test --class bird --max-examples 100 --out bird
  excise classes --dataset images --class dog --private --label request-17 --out request-17
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    parser.add_argument(
        "--dataset", required=True, metavar="DATA", help="Hub id, folder of images, saved data set, or parquet file"
    )
    parser.add_argument("--config", metavar="NAME", help="configuration of the data set")
    parser.add_argument("--split", default="train", help="its split (default: train); a file has one only")
    parser.add_argument(
        "--test-dataset",
        metavar="DATA",
        help="where held-out images come from; without it, the split test of DATA or, where there is none, 30 %% of "
        "its images, which the model must not have been trained on",
    )
    parser.add_argument("--test-split", metavar="SPLIT", help="its split (default: test); alone, a split of --dataset")
    parser.add_argument(
        "--class", dest="name", required=True, metavar="NAME", help="the class, by its name or the number of its label"
    )
    parser.add_argument("--image-column", metavar="COLUMN", help="column of the images (default: the only one)")
    parser.add_argument("--label-column", metavar="COLUMN", help="column of the labels (default: the only one)")
    parser.add_argument(
        "--max-examples", type=whole(), default=500, metavar="N", help="most images of the class (default: 500)"
    )
    parser.add_argument(
        "--max-retain", type=whole(), default=1000, metavar="N", help="most images of others (default: 1000)"
    )
    parser.add_argument(
        "--min-examples", type=whole(), default=20, metavar="N", help="fewest images of a set (default: 20)"
    )
    add_encoding(parser)
    add_value_range(parser)
    add_out_folder(parser, "the sets")
    add_private(parser)


def run(args: Namespace) -> Output:
    """Runs the verb."""
    from excise.data.class_labels import WrittenClass
    from excise.data.classes import class_sets
    from excise.data.forget_sets import KEY, SET_NAMES
    from excise.storage.digests import DigestKey

    if args.private != (args.label is not None):
        args.parser.error("sets go by a label: give --private and --label, or neither")
    if args.key and not args.private:
        args.parser.error("--key goes with --private")
    check_free(args.out)
    key = DigestKey.load(args.key) if args.key else None
    images = load_rows(args.dataset, args.config, args.split, encoding=args.encoding)
    test = None
    if args.test_dataset or args.test_split:
        name = args.test_dataset or args.dataset
        test = load_rows(name, args.config, args.test_split or "test", encoding=args.encoding)
    elif args.split != "test":
        test = own_test_split(images, args.dataset, args.config, encoding=args.encoding)
    sets = class_sets(
        images,
        WrittenClass(args.name),
        image=args.image_column,
        label=args.label_column,
        test=test,
        max_examples=args.max_examples,
        max_retain=args.max_retain,
        min_examples=args.min_examples,
        seed=args.seed,
        value_range=args.value_range,
    )
    if args.private:
        sets = sets.private_as(args.label, key)
    sets.save(args.out)
    kept = f"\nThe key of its digests, to be kept and not published: {args.out}/{KEY}" if args.private else ""
    if test is None:
        kept += f"\n{HELD_OUT.format(of='images', where='--test-dataset')}"
    return Output(
        f"{sets}\nSaved to {args.out}{kept}",
        {
            "topic": sets.name,
            **({} if args.private else {"label": sets.label, "classes": list(sets.classes)}),
            "rows": {name: len(getattr(sets, name)) for name in SET_NAMES},
            "counts": dict(sets.counts),
            "sha256": sets.digest(),
            "out": args.out,
        },
    )
