"""Company of a word: how often which words stood around it, and how to name such a stretch by a number."""

from collections.abc import Mapping
from typing import Any, NamedTuple

MOST_WORDS = 2**31


class Company(NamedTuple):
    """What stands around a form.

    Attributes:
        uses: how often the form occurs.
        stretches: one word to the left, one to the right, two to the left, one on each side, two to the right; of each
            how often it was seen, by number.
        third: how often each word is the third to the right, by number.
    """

    uses: int
    stretches: tuple[Mapping[int, int], ...]
    third: Mapping[int, int]

    def fit(self, gap: tuple[int, ...]) -> int:
        """How well the form goes into a gap: a point for each stretch that was seen around it, 0 to 5."""
        return sum(stretch in seen for stretch, seen in zip(gap, self.stretches, strict=True))

    def counts(self, gap: tuple[int, ...]) -> tuple[int, ...]:
        """How often each of the stretches of a gap was seen around the form, in their order."""
        return tuple(seen.get(stretch, 0) for stretch, seen in zip(gap, self.stretches, strict=True))


def stretches(far_left: Any, left: Any, right: Any, far_right: Any) -> tuple[Any, ...]:
    """The stretches of a gap by number: the left, the right, and each pair of neighbours, as `Company` counts them.

    Of words by number, or of many gaps at once. A pair's number is no other one's, unknown words (-1) included.
    """
    pairs = (far_left, left), (left, right), (right, far_right)
    return left, right, *((first + 1) * MOST_WORDS + second + 1 for first, second in pairs)
