"""Packing of many numbers in a short string, for ledgers that name hundreds of thousands of pairs in JSON."""

import base64
import zlib
from collections.abc import Sequence

import numpy as np

# From here on a list of numbers is packed; a shorter one stays readable.
LEAST = 1_000


def pack(numbers: Sequence[int]) -> list[int] | str:
    """Ascending numbers as a list; if there are many, as the base64 of a compressed bitmap.

    Example:
        >>> pack([2, 5]), unpack(pack(range(5_000))) == tuple(range(5_000))
        ([2, 5], True)
    """
    if len(numbers) < LEAST:
        return list(numbers)
    bitmap = np.zeros(numbers[-1] + 1, bool)
    bitmap[np.array(numbers)] = True
    return base64.b64encode(zlib.compress(np.packbits(bitmap).tobytes(), 1)).decode()


def unpack(packed: Sequence[int] | str) -> tuple[int, ...]:
    """The numbers that `pack` has packed.

    Raises:
        ValueError: if the string is none that `pack` makes.
    """
    if not isinstance(packed, str):
        return tuple(packed)
    try:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(packed, validate=True)), np.uint8)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"A packed list of codes cannot be read ({error}).") from None
    return tuple(np.flatnonzero(np.unpackbits(bits)).tolist())
