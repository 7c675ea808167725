"""Pixels of pictures of any mode, and of arrays, as RGB images of 8 bits; their range is known or asked for."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    from datasets import Dataset

Range = tuple[float, float]

# Tags of a TIFF file: bits of a value, and the least and greatest value that there may be.
BITS, LEAST, GREATEST = 258, (280, 340), (281, 341)
# Above this, values in 16 bits use all of them: scanners and cameras have 8, 10, 12 or 14.
MOST_IN_14_BITS = 2**14 - 1
FULL = (0, 2**16 - 1)
# Bytes of an image that is read to its end when images are looked through.
SMALL = 1 << 18
# By the fingerprint of a data set and the name of its column, the least and greatest value in its wide pictures, and
# whether any is of floating-point numbers.
_extremes: dict[tuple[str, str], tuple[float, float, bool]] = {}


def check_range(value_range: Any) -> Range:
    """The values that are black and white, as two numbers.

    Raises:
        ValueError: if it is something else.
    """
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not -np.inf < low < high < np.inf:
        raise ValueError(
            f"value_range={value_range!r}: expected the values of black and of white, as (0, 1) or (0, 4095)."
        )
    return low, high


def is_wide(picture: PIL.Image.Image) -> bool:
    """Whether a picture's values are more than 8 bits wide, so that their range is to be known."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def rgb(picture: PIL.Image.Image, where: str, value_range: Range | None) -> PIL.Image.Image:
    """A picture with 8 bits for each of red, green and blue; of several frames, the first.

    Args:
        picture: of any mode.
        where: what messages call it.
        value_range: the values of black and white; of a picture of 8 bits, 0 and 255 if not given.

    Raises:
        ValueError: if a value is out of range, the mode has no colours that are known, or all that is to be seen is in
            the transparency.
    """
    if is_wide(picture):
        return of_array(np.asarray(picture), where, value_range)
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    if picture.has_transparency_data:
        seen = np.asarray(picture.convert("RGBA")).reshape(-1, 4)
        if (seen[:, :3] == seen[0, :3]).all() and (seen[:, 3] != seen[0, 3]).any():
            raise ValueError(
                f"{where} is of one colour, and what is to be seen is in its transparency, which a model is not given. "
                "Put it on a background of another colour, as by `PIL.Image.alpha_composite`."
            )
    try:
        colours = picture.convert("RGB")
    except ValueError as error:
        raise ValueError(f"{where} has the mode {picture.mode!r}, which is no RGB. Save it as such.") from error
    return colours if value_range is None else of_array(np.asarray(colours), where, value_range)


def of_array(values: np.ndarray, where: str, value_range: Range | None) -> PIL.Image.Image:
    """The RGB image of an array: greys `(height, width)`, or with 1, 3 or 4 channels at either end.

    Raises:
        ValueError: if it has another shape, or one of two meanings; or a value is out of range, or the range is not
            known.
    """
    shape = values.shape
    if values.ndim == 3:
        ends = [end for end in (0, 2) if shape[end] in (1, 3, 4)]
        if len(ends) != 1:
            many = "either end may be the channels" if ends else "neither end has 1, 3 or 4 channels"
            raise ValueError(f"{where} has the shape {shape}, and {many}. Make it (height, width, channels).")
        values = np.moveaxis(values, ends[0], -1)
        values = values[..., 0] if values.shape[-1] == 1 else values[..., :3]
    elif values.ndim != 2:
        raise ValueError(f"{where} has the shape {shape}; expected (height, width), with channels before or after.")
    if value_range is None:
        known = {np.dtype(np.uint8): (0, 255), np.dtype(bool): (0, 1)}.get(values.dtype)
        if known is None:
            raise ValueError(_unknown_range(where, float(values.min()), float(values.max())))
        value_range = known
    low, high = value_range
    least, greatest = float(values.min()), float(values.max())
    if not low <= least <= greatest <= high:  # and what is not a number
        raise ValueError(
            f"{where} has values from {least:g} to {greatest:g}, out of the range of {low:g} to {high:g}. Give "
            "`value_range` the values of black and white in the whole data set."
        )
    if value_range == FULL:
        eight = values // 257
    else:
        eight = np.rint((values.astype(np.float64) - low) * (255 / (high - low)))
    return PIL.Image.fromarray(eight.astype(np.uint8)).convert("RGB")


def range_in_file(picture: PIL.Image.Image) -> Range | None:
    """The range of values that a picture's file tells of, as a TIFF can; `None` where it does not."""
    tags = getattr(picture, "tag_v2", {})

    def first(numbers: Sequence[int]) -> float | None:
        values = [tags[number] for number in numbers if number in tags]
        value = values[-1] if values else None
        return float(value[0] if isinstance(value, tuple) else value) if value is not None else None

    if (greatest := first(GREATEST)) is not None:
        return first(LEAST) or 0.0, greatest
    bits = first((BITS,))
    return (0.0, 2.0**bits - 1) if bits is not None and bits < 16 else None


def range_in_dataset(dataset: "Dataset", name: str, where: str) -> Range:
    """The range of a data set's wide pictures, where all of them together leave no doubt: 16 bits that are in use.

    Raises:
        ValueError: if they do not; the message says which values there are.
    """
    key = dataset._fingerprint, name
    if key not in _extremes:
        wide = (np.asarray(picture) for picture in _pictures(dataset, name) if is_wide(picture))
        least, greatest, floats = zip(*((v.min(), v.max(), v.dtype.kind == "f") for v in wide), strict=True)
        _extremes[key] = float(min(least)), float(max(greatest)), any(floats)
    low, high, of_floats = _extremes[key]
    if of_floats:
        raise ValueError(_unknown_range(where, low, high, "floating-point numbers"))
    if not (low >= 0 and MOST_IN_14_BITS < high <= FULL[1]):
        raise ValueError(_unknown_range(where, low, high))
    return FULL


def _pictures(dataset: "Dataset", name: str) -> Iterator[PIL.Image.Image]:
    for row in dataset.select_columns(name).with_format(None):
        if row[name] is not None:
            yield row[name]


def _unknown_range(where: str, least: float, greatest: float, kind: str = "more than 8 bits a value") -> str:
    ends = [255, 1023, 4095, MOST_IN_14_BITS, FULL[1], 2**32 - 1]
    likely = next((end for end in ([1, *ends] if least >= 0 else ()) if greatest <= end), None)
    such = f"(0, {likely})" if likely else "(-1, 1)"
    typed = such.strip("()").replace(",", "")
    return (
        f"{where} is of {kind}, whose range is not known: values go from {least:g} to {greatest:g}. Say which are "
        f"black and white, such as `value_range={such}`: `class_sets` and `encode_images` take it, the command line as "
        f"`--value-range {typed}`, and `excise.data.to_rgb` makes 8 bits of it once for all."
    )


def is_readable(content: bytes) -> bool:
    """Whether an image that is stored so can be read; of a large one, only its beginning is looked at."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            if len(content) <= SMALL:
                picture.load()
    except Exception:  # of many kinds
        return False
    return True
