"""Packing of many numbers in a short string, for ledgers that name hundreds of thousands of pairs; digests of them."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

# From here on a list of numbers is packed; a shorter one stays readable.
LEAST = 1_000
# Numbers from here on are not packed: a string of a few letters could stand for more than fits in memory.
MOST = 1 << 23
# No code has this number, which a tensor of numbers can still hold.
LIMIT = 1 << 62


def pack(numbers: Sequence[int]) -> list[int] | str:
    """Ascending numbers as a list; if there are many, as the base64 of a compressed bitmap.

    Example:
        >>> pack([2, 5]), unpack(pack(range(5_000))) == tuple(range(5_000))
        ([2, 5], True)
    """
    if len(numbers) < LEAST or numbers[-1] >= MOST:
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
        if not all(type(number) is int and number < LIMIT for number in packed):
            raise ValueError("A list of codes holds something else than numbers of codes.")
        return tuple(packed)
    try:
        unpacking = zlib.decompressobj()
        bits = np.frombuffer(unpacking.decompress(base64.b64decode(packed, validate=True), MOST // 8), np.uint8)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"A packed list of codes cannot be read ({error}).") from None
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError(f"A packed list of codes cannot be read (it is cut short, or names codes from {MOST:,} on).")
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
