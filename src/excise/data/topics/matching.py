"""Matching of words in texts, and of texts that are the same."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

Span = tuple[int, int]

# Neither a letter, a digit nor an accent of its own may touch the word.
BEFORE = r"(?<![\w\u0300-\u036f])"
AFTER = r"(?![\w\u0300-\u036f])"
# Inside a compound (car-free, mother-in-law) the word is not by itself; a dash (water--then) is no compound.
ALONE_BEFORE = BEFORE + r"(?<!\w[-\u2010\u2011])"
ALONE_AFTER = AFTER + r"(?![-\u2010\u2011]\w)"


def normalise(text: str) -> str:
    """The text with case, spacing, typographic quotes and Unicode composition evened out: equal means *same text*.

    >>> normalise("  It\u2019s  HERE. ") == normalise("it's here.")
    True
    """
    if text.isascii():  # nothing to compose and no quotes: the same, six times as fast
        return " ".join(text.lower().split())
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}).split())


class Matcher:
    """Finds any of a list of forms, at word boundaries.

    Apostrophes end a word, so *teacher's* matches *teacher* and the span covers the word alone. Accents count: *cafe*
    is not found in *café*, composed or decomposed.

    Args:
        forms: ordinary words, found in any case.
        names: proper names, found as written or in capitals only.

    Attributes:
        spellings: all of them, composed and decomposed: a text that is matched has the letters of one, in some case.

    >>> Matcher(["car", "cars"]).spans("Cars! I don't care for a car's colour.")
    [(0, 4), (25, 28)]
    """

    def __init__(self, forms: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        names = sorted({*names, *(name.upper() for name in names)})
        choices = [f"(?i:{_alternatives(forms)})"] if (forms := list(forms)) else []
        self.spellings = _composed([*forms, *names])
        choices += [_alternatives(names)] if names else []
        if not choices:
            raise ValueError("No word to find was given.")
        body = "(?:" + "|".join(choices) + ")"
        self._alone = re.compile(ALONE_BEFORE + body + ALONE_AFTER)
        self._any = re.compile(BEFORE + body + AFTER)

    def spans(self, text: str) -> list[Span]:
        """[start, end) of each occurrence that is a word of its own."""
        return [match.span() for match in self._alone.finditer(text)]

    def touches(self, text: str) -> bool:
        """Whether the word occurs at all, compounds (teacher-led) included."""
        return self._any.search(text) is not None

    def in_compound(self, text: str) -> bool:
        """Whether the word occurs as a part of a hyphenated compound."""
        return len(self._any.findall(text)) > len(self._alone.findall(text))


def odd_letters(text: str) -> frozenset[str]:
    r"""The letters of a text that a search in any case takes for others than those of the same lower case.

    >>> sorted(odd_letters("aÄ\u0131\u017f"))  # a dotless i and a long s, which are found by i and s
    ['\u0131', '\u017f']
    """
    letters = set(text)
    return frozenset(
        letter
        for letter in letters
        if len(letter.lower()) > 1 or letter.upper().lower() != letter.lower() or letter == "\u03a3"
    )


def _alternatives(forms: Sequence[str]) -> str:
    return "|".join(re.escape(form) for form in sorted(_composed(forms), key=lambda form: (-len(form), form)))


def _composed(forms: Sequence[str]) -> frozenset[str]:
    return frozenset(unicodedata.normalize(kind, form) for form in forms for kind in ("NFC", "NFD"))


def capital_share(word: str, texts: Iterable[str]) -> tuple[float, str]:
    """How often a word is capitalised where nothing but a name would be.

    Args:
        word: in any case.
        texts: where to look.

    Returns:
        The share of its occurrences inside sentences that start with a capital (not a number if there are none), and
        the commonest spelling among those.
    """
    pattern = re.compile(r"(?<=[\w,;] )" + f"(?i:{re.escape(word)})" + AFTER)
    counts: dict[str, int] = {}
    for text in texts:
        for found in pattern.findall(text):
            counts[found] = counts.get(found, 0) + 1
    if not counts:
        return float("nan"), word
    # Titles and shouting are capitals all over: they say nothing about the word.
    capital = {form: count for form, count in counts.items() if form[0].isupper()}
    return sum(capital.values()) / sum(counts.values()), max(capital or counts, key=lambda form: (counts[form], form))
