"""Matching of words in texts, and of texts that are the same."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

import regex

from excise.data.scripts import has_letters_without_spaces
from excise.data.topics.spellings import letters, pattern
from excise.data.words import AFTER, BEFORE, HYPHEN, SIGNS, caseless, evened, traced, words
from excise.storage.extras import require

Span = tuple[int, int]

# Signs as HTML writes them, escaped once or twice.
ENTITY = re.compile(r"&(?:amp;)?(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
# These stand for no letter, space or apostrophe.
HARMLESS = ("&", "<", ">", '"')
BROKEN = re.compile("(?<=[a-z\u00df-\u00ff])\u200b(?=[a-z\u00df-\u00ff])")


def hiding_sign(text: str) -> str | None:
    r"""A sign that hides a word it stands in: one as HTML writes it, or a space without width between small letters.

    >>> hiding_sign("O&#39;Brien"), hiding_sign("AT&amp;T"), hiding_sign("tea\u200bcher")
    ('&#39;', None, '\u200b')
    """
    if "&" in text:
        for entity in ENTITY.findall(text):
            sign = html.unescape(html.unescape(entity))
            if sign not in (entity, *HARMLESS):
                return entity
    return "\u200b" if "\u200b" in text and BROKEN.search(text) else None


def normalise(text: str) -> str:
    """The text with case, spacing, typographic quotes and Unicode composition evened out: equal means *same text*.

    >>> normalise("  It\u2019s  HERE. ") == normalise("it's here.")
    True
    """
    if text.isascii():  # nothing to compose and no quotes: the same, six times as fast
        return " ".join(text.lower().split())
    text = unicodedata.normalize("NFKC", evened(text)).casefold()
    return " ".join(text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}).split())


class Matcher:
    """Finds any of a list of forms, at the boundaries of words as `excise.data.words` has them.

    A form is found in each way to write it that `spellings` knows.

    Most apostrophes end a word, so *teacher's* matches *teacher* and the span covers the word alone. Accents count:
    *cafe* is not found in *café*, composed or decomposed.

    Args:
        forms: ordinary words, found in any case.
        names: proper names, found as written or in capitals only.
        hyphened: what may stand behind a word on a hyphen without making a compound of it (*donne-moi*).

    Attributes:
        spellings: what a text that is matched has one of, as `caseless` has it: of several pieces the longest.

    Raises:
        ValueError: there is no word to find.
        MissingExtraError: one is of a script without spaces, and the extra `scripts` is not installed.

    >>> Matcher(["car", "cars"]).spans("Cars! I don't care for a car's colour.")
    [(0, 4), (25, 28)]
    """

    def __init__(self, forms: Iterable[str] = (), names: Iterable[str] = (), hyphened: Iterable[str] = ()) -> None:
        hyphened = frozenset(hyphened)
        forms = {caseless(form) for form in forms}
        names = {evened(spelling) for name in names for spelling in (name, name.upper())}
        if not (forms or names):
            raise ValueError("No word to find was given.")
        if any(map(has_letters_without_spaces, (*forms, *names))):
            require("scripts", purpose="Finding a word of a script without spaces between words")
        self.spellings = frozenset(caseless(piece) for form in (*forms, *names) for piece in letters(form))
        # How a text is made before each list is looked for in it.
        self._sought = [(caseless, _pattern(forms, hyphened))] if forms else []
        self._sought += [(evened, _pattern(names, hyphened))] if names else []

    def spans(self, text: str) -> list[Span]:
        """[start, end) of each occurrence that is a word of its own."""
        return [span for span, alone in self._found(text) if alone]

    def hits(self, text: str) -> list[Span]:
        """[start, end) of each occurrence, those in compounds included."""
        return [span for span, _ in self._found(text)]

    def touches(self, text: str) -> bool:
        """Whether the word occurs at all, compounds (teacher-led) included."""
        return next(self._matches(text), None) is not None

    def in_compound(self, text: str) -> bool:
        """Whether the word occurs as a part of a hyphenated compound."""
        return not all(alone for _, alone in self._found(text))

    def _found(self, text: str) -> list[tuple[Span, bool]]:
        """All occurrences in order, none inside another, and whether each is a word of its own."""
        found: list[tuple[Span, bool]] = []
        for span, alone in sorted(self._matches(text), key=lambda match: (match[0][0], -match[0][1])):
            if not found or span[0] >= found[-1][0][1]:
                found.append((span, alone))
        return found

    def _matches(self, text: str) -> Iterator[tuple[Span, bool]]:
        edges: tuple[set[int], set[int]] | None = None
        for made, (bounded, anywhere) in self._sought:
            plain = traced(text, made)
            apart = not has_letters_without_spaces(plain.text)
            for match in (bounded if apart else anywhere).finditer(plain.text):
                span = plain.origin(*match.span())
                if not apart:  # what is a word there, no letter beside it can tell
                    edges = edges or _edges(text)
                    if span[0] not in edges[0] or span[1] not in edges[1]:
                        continue
                yield span, match["alone"] is not None


def _pattern(forms: Iterable[str], hyphened: Iterable[str] = ()) -> tuple[regex.Pattern, regex.Pattern]:
    """Finds forms between boundaries, and anywhere; the group `alone` holds those that are in no compound."""
    body = "|".join(pattern(form) for form in sorted(forms, key=lambda form: (-len(form), form)))
    # Inside a compound (car-free, mother-in-law) the word is not by itself; a dash (water--then) is no compound.
    no_part = rf"(?!(?:{'|'.join(map(regex.escape, sorted(hyphened)))}){AFTER})" if hyphened else ""
    alone = rf"(?P<alone>(?<![{SIGNS}]{HYPHEN})(?:{body})(?!{HYPHEN}{no_part}[{SIGNS}]))|(?:{body})"
    return regex.compile(f"{BEFORE}(?:{alone}){AFTER}"), regex.compile(alone)


def _edges(text: str) -> tuple[set[int], set[int]]:
    """Where the words of a text begin, and where they end."""
    places = words(text)
    return {word.start for word in places}, {word.end for word in places}


def capital_share(word: str, texts: Iterable[str]) -> tuple[float, str]:
    """How often a word is capitalised where nothing but a name would be.

    Args:
        word: in any case.
        texts: where to look.

    Returns:
        The share of its occurrences inside sentences that start with a capital (not a number if there are none), and
        the commonest spelling among those.
    """
    pattern = regex.compile(rf"(?<=[\w,;] ){regex.escape(caseless(word))}{AFTER}")
    counts: dict[str, int] = {}
    for text in texts:
        plain = traced(text, caseless)
        for match in pattern.finditer(plain.text):
            start, end = plain.origin(*match.span())
            spelling = evened(text[start:end])
            counts[spelling] = counts.get(spelling, 0) + 1
    if not counts:
        return float("nan"), word
    # Titles and shouting are capitals all over: they say nothing about the word.
    capital = {form: count for form, count in counts.items() if form[0].isupper()}
    return sum(capital.values()) / sum(counts.values()), max(capital or counts, key=lambda form: (counts[form], form))
