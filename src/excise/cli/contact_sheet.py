"""Images beside each other on one sheet."""

from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

COLUMNS, SIDE, CAPTION, GAP = 5, 128, 16, 8


def contact_sheet(images: Sequence[PIL.Image.Image], captions: Sequence[str]) -> PIL.Image.Image:
    """A sheet of images in rows of five, a line of text under each.

    Raises:
        ValueError: if there is no image.
    """
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


def _fitted(image: PIL.Image.Image) -> PIL.Image.Image:
    """The whole image in the middle of a square."""
    scale = SIDE / max(image.size)
    # small images keep their pixels, which a smooth enlargement would blur
    kind = PIL.Image.Resampling.NEAREST if scale > 1 else PIL.Image.Resampling.LANCZOS
    small = image.convert("RGB").resize([max(1, round(scale * length)) for length in image.size], kind)
    square = PIL.Image.new("RGB", (SIDE, SIDE), "#eeeeee")
    square.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return square
