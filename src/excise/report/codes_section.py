"""What codes stand for, as JSON values: their tokens, and small pictures of the images that select them."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import PIL.Image

# A strip of so many square pictures, each so many pixels wide: some 3 kB a code.
MOST, SIDE = 5, 48


def codes_section(
    tokens: Mapping[tuple[str, int], Mapping[str, int]] | None,
    thumbnails: Mapping[tuple[str, int], PIL.Image.Image | Sequence[PIL.Image.Image]] | None,
) -> list[dict[str, Any]]:
    """One entry for each code of which something is known, by site and number.

    Args:
        tokens: by site and code, how often each token selects it.
        thumbnails: by site and code, an image that selects it or several.
    """
    tokens, thumbnails = ({_key(key): value for key, value in (found or {}).items()} for found in (tokens, thumbnails))
    section = []
    for site, code in sorted({*tokens, *thumbnails}):
        counts = tokens.get((site, code), {})
        best = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        entry = {"site": site, "code": code, "tokens": [[token, int(count)] for token, count in best]}
        if (site, code) in thumbnails:
            entry["thumbnail"] = _data_uri(thumbnails[site, code])
        section.append(entry)
    return section


def _key(key: tuple[str, int]) -> tuple[str, int]:
    site, code = key
    return str(site), int(code)


def _data_uri(images: PIL.Image.Image | Sequence[PIL.Image.Image]) -> str:
    """The images side by side, as a JPEG in a URI."""
    images = [images] if isinstance(images, PIL.Image.Image) else list(images)[:MOST]
    if not images:
        raise ValueError("A code has an empty list of thumbnails; give an image, or leave the code out.")
    strip = PIL.Image.new("RGB", (SIDE * len(images), SIDE), "white")
    for i, image in enumerate(images):
        strip.paste(square(image, SIDE), (SIDE * i, 0))
    out = io.BytesIO()
    strip.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def square(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """The middle of an image, as a square of so many pixels."""
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    middle = image.convert("RGB").crop((left, top, left + least, top + least))
    # small images keep their pixels, which a smooth enlargement would blur
    kind = PIL.Image.Resampling.NEAREST if least < side else PIL.Image.Resampling.LANCZOS
    return middle.resize((side, side), kind)
