"""Show a model's ledger and how many codes are live, masked and deleted at each site; or what a code stands for.

With --code, the tokens of a data set that select it, masks lifted, and where it fits best; of a model of images, the
images that do, as a list and, with --out-image, as a picture.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from excise.cli.forgetting import request_data, request_line
from excise.cli.loading import load_unlearner
from excise.cli.options import add_encoding, add_index, add_model, add_value_range
from excise.cli.output import Output
from excise.cli.values import whole
from excise.data.reading import DEMO, load_rows
from excise.storage.files import check_file, new_file
from excise.storage.processes import by_main_process

if TYPE_CHECKING:
    import PIL.Image

    from excise.unlearner import Unlearner

HELP = "show the ledger and the codes of a model"
EXAMPLES = """\
  excise inspect model-unlearned
  excise inspect model --code encoder.block.0:17 --dataset pairs.parquet --text en
  excise inspect classifier --code bottleneck:4711 --dataset images --split test --out-image code.png
  excise inspect model-unlearned --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    add_model(parser)
    parser.add_argument("--code", metavar="SITE:ID", help="show what selects this code")
    parser.add_argument(
        "--dataset", metavar="DATA", help=f"texts or images to look in: as in `excise topic`, {DEMO} included"
    )
    parser.add_argument("--config", metavar="NAME", help="configuration of the data set")
    parser.add_argument("--split", default="train", help="its split (default: train)")
    parser.add_argument("--max-rows", type=whole(), default=10_000, metavar="N", help="rows looked at (default: 10000)")
    parser.add_argument(
        "--count", type=whole(), default=10, metavar="N", help="tokens, contexts and images shown (default: 10)"
    )
    parser.add_argument("--text", metavar="COLUMN", help="of texts: column, or key of a translation, as en")
    add_encoding(parser)
    add_index(parser)
    images = parser.add_argument_group("models of images")
    images.add_argument("--image", metavar="COLUMN", help="column of the images (default: the only one)")
    images.add_argument("--label", metavar="COLUMN", help="column of their classes (default: the only one)")
    add_value_range(images)
    images.add_argument("--out-image", metavar="FILE.png", help="draw the images that are shown into a file")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    if args.code is None:
        return _inspect_model(args)
    if not args.dataset:
        args.parser.error("--code needs something to look in: give --dataset and --text, or a --dataset of images")
    site, _, number = args.code.rpartition(":")
    if not (site and number.isdecimal()):
        args.parser.error(f"--code {args.code}: expected SITE:ID, such as encoder.block.2:17")
    if args.out_image and not args.out_image.lower().endswith(".png"):
        args.parser.error(f"--out-image {args.out_image}: the picture is a PNG; give a path that ends in .png")
    check_file(args.out_image)

    from excise.data.inputs import image_processor_of

    unlearner = load_unlearner(args.model, args.index, args.device)
    if image_processor_of(unlearner.processor) is not None:
        return _inspect_images(args, unlearner, site, int(number))
    if args.text is None:
        args.parser.error("--code of a model of texts needs the column to look in: give --text")
    if args.out_image or args.value_range:
        option = "--out-image" if args.out_image else "--value-range"
        args.parser.error(f"{option} is for models of images; this one takes texts")
    return _inspect_texts(args, unlearner, site, int(number))


def _inspect_model(args: Namespace) -> Output:
    from excise.report.sections import sites_section

    unlearner = load_unlearner(args.model, device=args.device)
    ledger, sites, lines = unlearner.ledger, {}, []
    for site in sites_section(unlearner.model):
        selected = "top_s" if site["kind"] == "codebook" else "selected"
        numbers = {"num_codes": site["num_codes"], selected: site["selected"]}
        sites[site["site"]] = numbers | {name: site[name] for name in ("live", "masked", "deleted")}
        lines.append(f"{site['site']}: {', '.join(f'{value} {name}' for name, value in sites[site['site']].items())}")
    lines += [request_line(request) for request in ledger.requests] or ["The ledger is empty: nothing was forgotten."]
    requests = [request_data(request) for request in ledger.requests]
    return Output("\n".join(lines), {"sites": sites, "requests": requests})


def _inspect_texts(args: Namespace, unlearner: "Unlearner", site: str, code: int) -> Output:
    from excise.codes.meanings import code_tokens
    from excise.data.columns import read_column

    rows = load_rows(args.dataset, args.config, args.split, encoding=args.encoding)
    texts = [text for text in read_column(rows, args.text) if text]
    found = code_tokens(unlearner, texts[: args.max_rows], site, code, count=args.count, progress=not args.quiet)
    lines = [
        f"Code {code} of {site}, {found['state']}: selected by {found['selected']} of {found['tokens']} tokens "
        f"in {found['texts']} texts."
    ]
    lines += [f"{count:>7} x {token}" for token, count in found["top_tokens"].items()]
    lines += [f"  {row['similarity']:.3f}  {row['before']}[{row['token']}]{row['after']}" for row in found["contexts"]]
    return Output("\n".join(lines), {"site": site, "code": code} | found)


def _inspect_images(args: Namespace, unlearner: "Unlearner", site: str, code: int) -> Output:
    from excise.codes.meanings import code_images
    from excise.data.images import rgb_images, to_rgb

    rows = load_rows(args.dataset, args.config, args.split, encoding=args.encoding)
    rows = rows.select(range(min(len(rows), args.max_rows)))
    if args.value_range:
        rows = to_rgb(rows, args.value_range, image=args.image)
    options = {"image": args.image, "label": args.label, "progress": not args.quiet}
    found = code_images(unlearner, rows, site, code, count=args.count, **options)
    lines = [f"Code {code} of {site}, {found['state']}: selected by {found['selected']} of {found['images']} images."]
    lines += [f"{count:>7} x {label}" for label, count in found["labels"].items()]
    lines += [f"  {hit['similarity']:.3f}  image {hit['row']} {hit['label'] or ''}".rstrip() for hit in found["hits"]]
    if args.out_image and found["hits"]:
        images = rgb_images(rows, [hit["row"] for hit in found["hits"]], args.image)
        captions = [f"{hit['row']} {hit['label'] or ''}".rstrip() for hit in found["hits"]]
        _save(contact_sheet(images, captions), args.out_image)
        lines.append(f"Images drawn into {args.out_image}")
    out = args.out_image if found["hits"] else None
    return Output("\n".join(lines), {"site": site, "code": code} | found | {"out_image": out})


@by_main_process("path")
def _save(sheet: "PIL.Image.Image", path: str) -> None:
    with new_file(path) as partial:
        sheet.save(partial, "PNG")


COLUMNS, SIDE, CAPTION, GAP = 5, 128, 16, 8


def contact_sheet(images: "Sequence[PIL.Image.Image]", captions: Sequence[str]) -> "PIL.Image.Image":
    """A sheet of images in rows of five, a line of text under each.

    Raises:
        ValueError: if there is no image.
    """
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    if not images:
        raise ValueError("There is no image to put on a sheet.")
    columns = min(COLUMNS, len(images))
    lines = -(-len(images) // columns)
    size = columns * (SIDE + GAP) + GAP, lines * (SIDE + CAPTION + GAP) + GAP
    sheet = PIL.Image.new("RGB", size, "white")
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(12)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = GAP + i % columns * (SIDE + GAP), GAP + i // columns * (SIDE + CAPTION + GAP)
        sheet.paste(_fitted(image), (left, top))
        while caption and draw.textlength(caption, font) > SIDE:
            caption = caption[:-1]
        draw.text((left, top + SIDE), caption, "black", font)
    return sheet


def _fitted(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """The whole image in the middle of a square."""
    import PIL.Image

    scale = SIDE / max(image.size)
    # small images keep their pixels, which a smooth enlargement would blur
    kind = PIL.Image.Resampling.NEAREST if scale > 1 else PIL.Image.Resampling.LANCZOS
    small = image.convert("RGB").resize([max(1, round(scale * length)) for length in image.size], kind)
    square = PIL.Image.new("RGB", (SIDE, SIDE), "#eeeeee")
    square.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return square
