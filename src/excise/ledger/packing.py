"""Packing of many numbers in a short string, for ledgers that name hundreds of thousands of pairs; digests of them."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence

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


def codes_digest(codes: Mapping[str, Iterable[int]]) -> str:
    """SHA-256 of codes by site; sites of which there is none are left out.

    Example:
        >>> codes_digest({"a": [2, 5], "b": []}) == codes_digest({"a": {5, 2}})
        True
    """
    sha = hashlib.sha256()
    for site in sorted(codes):
        numbers = np.unique(np.fromiter(codes[site], np.int64))
        if len(numbers):
            sha.update(json.dumps([site, len(numbers)]).encode() + numbers.astype("<i8").tobytes())
    return sha.hexdigest()
