"""Words of a text: the one definition of what a word is, and of when two are the same.

**A word** is a run of letters, their combining marks and digits, which starts with a letter or a digit (Unicode's L, M
and Nd). All else ends it:

- An apostrophe, in any of its shapes, ends a word: *teacher's* is *teacher* and *s*, *l'amour* is *l* and *amour*.
  But *n't* belongs to its word (*won't*, *can't*), and so does what follows *o'* (*o'clock*, *O'Neill*) and what else
  `ONE_WORD` lists (*grand'mère*, *aujourd'hui*). Between Cyrillic or Hebrew letters an apostrophe is a letter of the
  word (Ukrainian *п'ять*), and so is the mark of abbreviations between Hebrew letters, and the dot in Catalan
  *col·lega*.
- A dot, a comma or a slash between two digits ends no word: *100* is not found in *100,000*, nor *24/7* in *24/7/2020*.
- A hyphen ends a word: *Jean-Luc* is *Jean* and *Luc*. Whoever looks for a word by itself asks for the hyphens around
  it too (`HYPHEN`). So does a space without width, which is set where a word ends. An underscore ends none (*model_2*),
  unless nothing follows.
- Scripts without spaces between words are split by ICU's dictionaries, where the extra `scripts` is installed
  (`excise.data.scripts`).

**Before words are looked for**, a text is evened out (`evened`): Unicode NFC; letters and digits of full width,
ligatures and other forms for display become the plain ones; soft hyphens, joiners, marks of direction and Arabic
stretching, which change no word, are taken out; apostrophes, hyphens and middle dots get one shape each.

**Two words are the same** if they are after Unicode's full case folding (`caseless`): *STRASSE* is *Straße*, and a
final sigma is a sigma. An I with a dot, as Turkish has it, is an *i*; one without stays apart from it, and in capitals,
where only the language could tell, an *I* is an *i*. Accents count: *cafe* is not *café*.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import regex

from excise.data.scripts import pieces

# Inside brackets of a pattern of the package `regex`; all patterns are for texts that are evened out.
LETTERS = r"\p{L}\p{M}"
SIGNS = LETTERS + r"\p{Nd}"
HYPHEN, APOSTROPHE = "-", "'"
# What is written in its place, beside the Hebrew geresh, which may end a word.
CURLY = "\u00b4\u02bc\u2019\u2032\uff07"
# Alphabets of which an apostrophe is a letter.
ALPHABETS = r"\p{Cyrillic}\p{Hebrew}"
# How words begin whose apostrophe is inside them, and how they go on: in any case, and "" is any letter but a lone s.
ONE_WORD = {
    "o": "", "grand": "", "entr": "", "aujourd": "hui", "quelqu": "une?s?", "presqu": "[iî]le", "prud": "hom",
    "ma": "am", "y": "all", "hallowe": "en",
}  # fmt: skip

# Between two digits of one number.
POINT = "[.,/\u066b\u066c]"


def _around(signs: str = SIGNS, letters: str = LETTERS) -> list[tuple[str, str]]:
    """What stands before an apostrophe that ends no word, and behind it."""
    begun = [
        (rf"(?<![{signs}])(?i:{first})", f"(?i:{rest})" if rest else f"(?![sS](?![{signs}]))[{letters}]")
        for first, rest in ONE_WORD.items()
    ]
    return [("[nN]", f"[tT](?![{signs}])"), *begun]


def _word(
    first: str = r"\p{L}\p{Nd}", signs: str = SIGNS, letters: str = LETTERS, alphabets: str = ALPHABETS,
    hebrew: str = r"\p{Hebrew}", *, whole: bool = True,
) -> str:  # fmt: skip
    """A pattern of a word, of what stands in brackets; if not whole, without `ONE_WORD`, *n't* and long numbers."""
    inside = "|".join(f"(?<={before}')(?={behind})" for before, behind in _around(signs, letters))
    joined = (
        (rf"'(?:{inside})|{POINT}(?<=\d{POINT})(?=\d)|" if whole else "")
        + rf"'(?<=[{alphabets}]')(?=[{alphabets}])|\"(?<=[{hebrew}]\")(?=[{hebrew}])|\u00b7(?<=[{letters}]\u00b7)"
        rf"(?=[{letters}])|_+(?=[{first}])"
    )
    return rf"[{first}][{signs}]*(?:(?:{joined})[{signs}]+)*"


WORD = regex.compile(_word())
# What metrics compare that were measured before: parts of such words.
PART_OF_WORD = regex.compile(_word(whole=False))
# Nothing that would go on with the word may touch it.
BEFORE = (
    rf"(?<![{SIGNS}])(?<![{ALPHABETS}]'(?=[{ALPHABETS}]))(?<!\p{{Hebrew}}\"(?=\p{{Hebrew}}))(?<![{LETTERS}]\u00b7)"
    rf"(?<![{SIGNS}]_+)(?<!\d{POINT}(?=\d))"
) + "".join(f"(?<!{before}'(?={behind}))" for before, behind in _around())
AFTER = (
    rf"(?![{SIGNS}])(?!(?<=[{ALPHABETS}])'[{ALPHABETS}]|(?<=\p{{Hebrew}})\"\p{{Hebrew}}|(?<=[{LETTERS}])\u00b7[{LETTERS}]"
    rf"|_+[\p{{L}}\p{{Nd}}]|(?<=\d){POINT}\d)"
) + f"(?!'(?:{'|'.join(f'(?<={before}.){behind}' for before, behind in _around())}))"

UNSEEN = (
    "\u00ad\u0640\u061c\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff"
)
SHAPES = str.maketrans(
    dict.fromkeys(CURLY + "\u05f3", APOSTROPHE)
    | {"\u05f4": '"'}
    | dict.fromkeys("\u2010\u2011\ufe63\uff0d", HYPHEN)
    | dict.fromkeys("\u2027\u22c5", "\u00b7")
)
TO_EVEN = re.compile(f"[{UNSEEN}{''.join(map(chr, SHAPES))}\u0130\u0131]|i\u0307")
# All but the letters of western Europe and usual punctuation, which are as they are to be.
UNCOMMON = re.compile(
    "[^\0-\xa9\xab\xac\xae-\xb3\xb6-\xb9\xbb-\xff\u0100-\u012f\u0134-\u013e\u0141-\u0148\u014a-\u017e"
    "\u2012-\u2018\u201a-\u2026\u202f\u2030\u2031\u2033-\u203b\u20ac]"
)
CLUSTER = regex.compile(r"\X")
UNSEEN_RUN = re.compile(f"[{UNSEEN}]+")
LETTER_OR_DIGIT = regex.compile(r"[\p{L}\p{Nd}\u2080-\u2089]")


# Letters of seldom-used scripts, which are too many to list, and what else is there but pictures.
BEYOND = re.compile("[\U00010000-\U0001efff\U00020000-\U0010ffff]")


@cache
def ranges(signs: str) -> str:
    """What the package `regex` has in brackets, for brackets of the standard library, which searches twice as fast.

    Args:
        signs: such as `LETTERS`.

    Returns:
        Ranges of the first 65,536 characters, of which nearly all letters are (`BEYOND` tells whether one is not).
    """
    every = "".join(map(chr, chain(range(0xD800), range(0xE000, 0x10000))))
    return "".join(f"{run[0]}-{run[-1]}" for run in regex.findall(f"[{signs}]+", every, regex.VERSION1))


@cache
def _fast_word() -> str:
    return _word(*map(ranges, (r"\p{L}\p{Nd}", SIGNS, LETTERS, ALPHABETS, r"\p{Hebrew}")))


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        text: the word, evened out.
        start: where it begins in the text as it was given.
        end: where it ends there.
    """

    text: str
    start: int
    end: int


class Traced(NamedTuple):
    """A text made of another one, and where its characters stood there.

    Attributes:
        text: the text made.
        starts: where what became each character begins in the other; None if they are where they were.
        ends: where it ends.
    """

    text: str
    starts: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where a stretch, as [start, end) and not empty, comes from."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def words(text: str) -> list[Word]:
    """The words of a text, in order, as the module's first lines define them.

    Example:
        >>> [word.text for word in words("Jean-Luc's cafe\u0301, 2 \ufb01lms")]
        ['Jean', 'Luc', 's', 'caf\u00e9', '2', 'films']
    """
    plain = traced(text, evened)
    return [
        Word(run[0][start:end], *plain.origin(run.start() + start, run.start() + end))
        for run in WORD.finditer(plain.text)
        for start, end in pieces(run[0])
    ]


def runs(text: str, among: str = "") -> list[str]:
    """The words of a text that is evened out, in order, with scripts without spaces in runs; fast on long texts.

    Args:
        text: one, or many with something between them.
        among: a pattern of what else is wanted, of the standard library.

    Example:
        >>> runs("l'amour, 2 caf\u00e9s", ",")
        ['l', 'amour', ',', '2', 'caf\u00e9s']
    """
    if BEYOND.search(text):
        pattern: Any = regex.compile(f"{_word()}|{among}" if among else _word())
    else:
        pattern = re.compile(f"{_fast_word()}|{among}" if among else _fast_word())
    return pattern.findall(text)


def is_word(text: str) -> bool:
    """Whether a text is one word and nothing else.

    Example:
        >>> is_word("\u0915\u092e\u0940"), is_word("New York"), is_word("car-free")
        (True, False, False)
    """
    return WORD.fullmatch(evened(text)) is not None


def evened(text: str) -> str:
    r"""A text in which what is written alike is the same: see the module's first lines.

    Example:
        >>> evened("l\u2019e\u0301te\u0301"), evened("\uff34\uff4f\uff4d"), evened("tea\u00adcher")
        ("l'\xe9t\xe9", 'Tom', 'teacher')
    """
    if text.isascii() or not UNCOMMON.search(text):
        return text
    if not TO_EVEN.search(text) and unicodedata.is_normalized("NFKC", text):
        return text
    return "".join(map(_evened, CLUSTER.findall(text)))


def lowered(text: str) -> str:
    """A text evened out and in lower case, for people to read; case folding would make *strasse* of *Straße*.

    Example:
        >>> lowered("STRASSE"), lowered("Straße"), lowered("\u0130zmir")
        ('strasse', 'straße', 'izmir')
    """
    return evened(text).lower().replace("i\u0307", "i")


def caseless(text: str) -> str:
    """A text evened out and without case, to tell whether two words are the same.

    Example:
        >>> caseless("STRASSE") == caseless("Stra\u00dfe"), caseless("\u0130zmir"), caseless("CAFE\u0301")
        (True, 'izmir', 'caf\u00e9')
    """
    if text.isascii():
        return text.lower()
    text = evened(text).casefold()
    return text if text.isascii() else unicodedata.normalize("NFC", text.replace("i\u0307", "i"))


def traced(text: str, made: Callable[[str], str]) -> Traced:
    """A text as `evened` or `caseless` makes it, and where its characters were.

    Example:
        >>> plain = traced("Stra\u00dfe!", caseless)
        >>> plain.text, plain.origin(0, 7)
        ('strasse!', (0, 6))
    """
    if text.isascii():
        return Traced(made(text))
    whole = made(text)
    # Nothing gets shorter but what `TO_EVEN` and marks tell, so that nothing moved where the length is the same.
    if len(whole) == len(text) and not TO_EVEN.search(text) and unicodedata.is_normalized("NFKC", text):
        return Traced(whole)
    letters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for cluster in CLUSTER.finditer(text):
        new = made(cluster[0])
        letters.append(new)
        starts += [cluster.start()] * len(new)
        ends += [cluster.end()] * len(new)
    return Traced("".join(letters), tuple(starts), tuple(ends))


def _evened(cluster: str) -> str:
    """A letter with its marks, or any other sign, evened out."""
    cluster = UNSEEN_RUN.sub("", cluster.translate(SHAPES))
    if not cluster or cluster.isascii():
        return cluster
    # Signs that are no letters stay: a lone accent would become a space and a mark.
    return unicodedata.normalize("NFKC" if LETTER_OR_DIGIT.match(cluster) else "NFC", cluster)
