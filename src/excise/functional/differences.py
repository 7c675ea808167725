"""Which words of two texts differ."""

from difflib import SequenceMatcher
from typing import NamedTuple


class Part(NamedTuple):
    """Words of a text that follow each other.

    Args:
        text: the words.
        differs: whether the other text has none of them at their place.
    """

    text: str
    differs: bool


def word_differences(before: str, after: str) -> tuple[list[Part], list[Part]]:
    """Two texts in parts, those marked that the other text does not have at their place.

    Example:
        >>> one, other = word_differences("il aime le chat", "il voit le grand chat")
        >>> [part.text for part in one if part.differs], [part.text for part in other if part.differs]
        (['aime'], ['voit', 'grand'])
    """
    old, new = before.split(), after.split()
    one: list[Part] = []
    other: list[Part] = []
    for kind, first, last, start, end in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        for parts, words in ((one, old[first:last]), (other, new[start:end])):
            if words:
                parts.append(Part(" ".join(words), kind != "equal"))
    return one, other
