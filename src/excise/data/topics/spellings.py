"""Spellings of words, names and phrases: patterns of all the ways in which one is written.

Spaces, line breaks and spaces that do not break or have no width are one, and so are a space and a hyphen between two
parts (*machine-learning*), straight and typographic apostrophes, and the ways to write initials and abbreviations (*J.
K.*, *J.K.*, *JK*; *St*, *St.*; *US*, *U.S.*). Between a letter and a figure there may be nothing (*GPT4*). Accents
count.
"""

import re
import unicodedata

import numpy as np

from excise.data.words import APOSTROPHE, CURLY, caseless, evened

# Ways to misspell a word.
MISSPELLINGS = ("swapped", "dropped", "doubled")
APOSTROPHES = f"{APOSTROPHE}{CURLY}\u2018`"
HYPHENS = "\\-\u2010\u2011\u2013"  # in a set of a regular expression
BREAK = rf"(?:[\s\u200b]+|[{HYPHENS}])"
AND = r"\s*(?:&amp;|&|\b(?i:and)\b)\s*"
PIECE = re.compile(rf"(?P<and>{AND})|(?P<dot>\.\s*)|(?P<break>{BREAK})|(?P<apostrophe>[{APOSTROPHES}])|.", re.DOTALL)
ARTICLE = re.compile(r"(?:the|an?)\s+(?=\S)", re.IGNORECASE)
LETTER = r"[^\W\d_]"
INITIALS = re.compile(rf"(?:{LETTER}\.\s*)+{LETTER}\.?")
# An abbreviation that is another word without its dot, where a figure follows: No. 5, and no 5 of them.
NUMBER = re.compile(r"\b([Nn][Oo]|NO)\.\s*(?=\d)")


CURRENCIES = "$\u20ac\u00a3\u00a5"
# What stands between the thousands of a number, in which languages; in all of them a space, or nothing.
THOUSANDS = {"de": ".", "es": ".", "fr": ".", "it": ".", "nl": ".", "pt": ".", "en": ","}
SPACED = " \u00a0\u202f\u2009'\u2019"
GROUPED = re.compile(r"\d{1,3}(?:[ ,.'\u2019]\d{3})+|\d{4,}")
WHOLE_NUMBER = re.compile(rf"\d[\d.,{SPACED}]*")


def number_spellings(words: str, language: str) -> tuple[str, ...]:
    """All ways to write a whole number of four figures or more; none of what is no such number.

    >>> number_spellings("100 000", "en"), number_spellings("3.500", "en"), number_spellings("3.500", "de")
    (('100 000', '100000', '100,000'), (), ('3.500', '3500', '3 500'))
    """
    mark = THOUSANDS.get(language, "")
    other = {",": ".", ".": ","}.get(mark, ",.")
    if not GROUPED.fullmatch(words) or any(sign in words for sign in other):
        return ()
    digits = re.sub(r"\D", "", words)
    marks = dict.fromkeys([" ", mark]) if mark else [" "]
    groups = f"{int(digits):,}" if digits[0] != "0" else digits
    return tuple(dict.fromkeys([words, digits, *(groups.replace(",", one) for one in marks)]))


def in_longer_number(text: str, start: int, end: int) -> bool:
    """Whether a number is a part of one whose thousands stand apart: 100, in 100 000.

    >>> in_longer_number("2 100 000", 2, 5), in_longer_number("in 100 cases", 3, 6)
    (True, False)
    """
    hit = text[start:end]
    before = re.search(rf"(?<![\d.,])\d{{1,3}}[{SPACED}]$", text[:start]) and re.match(r"\d{3}(?!\d)", hit)
    behind = re.match(rf"[{SPACED}]\d{{3}}(?!\d)", text[end:]) and re.search(r"(?<!\d)\d{1,3}$", hit)
    return bool(before or behind)


def tidy(words: str) -> str:
    """What is given, composed (NFC), with one space for several of any kind, and no apostrophe at its end.

    >>> tidy("  the  Joneses' ")
    'the Joneses'
    """
    words = " ".join(unicodedata.normalize("NFC", words).split()).rstrip(APOSTROPHES)
    return words[:-2] + "'s" if words[-1:] == "s" and words[-2:-1] in tuple(APOSTROPHES) else words


def is_plain(word: str) -> bool:
    """Whether it is a single word of letters (or of such with hyphens between them) and no initial by itself."""
    return len(word) > 1 and all(part.isalpha() for part in word.split("-")) and not _inner_capital(word)


def dotted(word: str) -> str:
    """An acronym with its dots, which finds it without them as well (US, U.S.); empty of all other words.

    >>> dotted("WHO"), dotted("who")
    ('W.H.O.', '')
    """
    acronym = word.isupper() and word.isalpha() and word.isascii() and 2 <= len(word) <= 5
    return ".".join(word) + "." if acronym else ""


def _inner_capital(word: str) -> bool:
    """Whether there are capitals after small letters, or on both sides of a hyphen: iPhone, McDonald, Jean-Luc."""
    return bool(re.search(r"[^\W\d_A-Z]\w*[A-Z]|-[A-Z]", word)) and not word.isupper()


def cased_key(text: str) -> str:
    """What all ways to write a phrase have in common, with its capitals."""
    text = ARTICLE.sub(lambda match: match[0].lower(), evened(text), count=1)
    pieces = PIECE.finditer(text)
    return "".join(
        "&"
        if piece["and"] and piece[0] != text
        else "'"
        if piece["apostrophe"]
        else ""
        if piece["dot"] or piece["break"]
        else piece[0]
        for piece in pieces
    )


def key(text: str) -> str:
    r"""What all ways to write a phrase have in common, in whatever case.

    >>> key("Jean-luc") == key("Jean Luc"), key("J.K. Rowling") == key("J. K. ROWLING"), key("AT & T")
    (True, True, 'at&t')
    """
    return caseless(cased_key(text))


def _is_inner_dot(text: str, place: int) -> bool:
    """Whether a dot is a part of a word (Node.js, 3.5), and none behind an initial or an abbreviation (J.K., St.)."""
    before = re.search(r"\w+$", text[:place])
    after = re.match(r"\w+", text[place + 1 :])
    return bool(before and after) and not (before[0].isalpha() and len(before[0]) == 1)  # type: ignore[index]


def pattern(form: str) -> str:
    """A regular expression for all ways to write a form, in the case of the form."""
    built = []
    by_letter = INITIALS.fullmatch(form) is not None
    for piece in PIECE.finditer(form):
        before, after = form[: piece.start()], form[piece.end() :]
        initials = bool(re.search(r"\b[^\W\d_]$", before)) and bool(re.match(r"[^\W\d_]\b", after))
        if piece["and"]:
            built.append(AND if before and after else re.escape(piece["and"]))
        elif piece["apostrophe"]:
            built.append(f"[{APOSTROPHES}]")
        elif piece["dot"] and before and not _is_inner_dot(form, piece.start()):
            if not after:  # a dot at the end may be the sentence's, and stays out
                built.append(r"(?!\.\w)")
            elif by_letter or NUMBER.match(form, len(before) - len(before.split()[-1])):
                built.append(r"\.\s*")  # without the dots it is another word (a.m.), or another spelling (U.S., US)
            else:
                built.append(rf"(?:\.\s*|{BREAK}){'?' if initials else ''}")
        elif piece["break"] and before and after:
            digits = before[-1].isalpha() and after[0].isdigit()
            built.append(BREAK + ("?" if digits else ""))
        else:
            sign = piece[0]
            if (sign.isdigit() and before and (before[-1].isalpha() or before[-1] in CURRENCIES)) or (
                sign in (*CURRENCIES, "%") and before[-1:].isdigit()
            ):
                built.append(BREAK + "?")
            built.append(re.escape(sign))
    body = "".join(built)
    if len(form) == 1:  # C is neither in C++ nor in C#, T not in AT&T
        return rf"(?<![&.{APOSTROPHES}]){body}(?![&+#]|\.\w)"
    return body + (r"(?![+#])" if not form[-1].isalnum() and form[-1] != "." else "")


def variants(form: str) -> tuple[str, ...]:
    """Ways to write a form that have other words in them, for whoever searches by words.

    >>> variants("GPT-4"), variants("US"), variants("book")
    (('GPT-4', 'gpt4'), ('US', 'U.S.'), ('book',))
    """
    joined = key(form) if key(form).isalnum() and key(form) != form.lower() else ""
    apart = re.sub(rf"(?<={LETTER})(?=\d)", " ", form)
    return tuple(dict.fromkeys(filter(None, (form, dotted(form), joined, apart))))


def letters(form: str) -> tuple[str, ...]:
    """What a text has that may hold a form, in some case: one of these."""
    if re.fullmatch(r"(?:[^\W\d_]\.){2,}", form):
        return form.replace(".", ""), form[:3], f"{form[0]}. {form[2]}"
    apart = re.split(
        rf"&|\band\b|[\s{APOSTROPHES}{HYPHENS}]|(?<=\w)\.|(?<={LETTER})(?=\d)|(?<=\d)[%{CURRENCIES}]|[{CURRENCIES}](?=\d)",
        form,
    )
    return (max(filter(None, apart), key=len, default=form),)


def misspelt(word: str, how: str, rng: np.random.Generator) -> str | None:
    """A word with two neighbouring letters swapped, a letter dropped or a letter doubled, none of them the first.

    Args:
        word: of three letters at least; there is no misspelling of a shorter one.
        how: `"swapped"`, `"dropped"` or `"doubled"`.
        rng: chooses the place.

    Returns:
        The misspelling; `None` where there is none.

    Example:
        >>> misspelt("book", "swapped", np.random.default_rng(0))
        'boko'
    """
    last = len(word) - 1
    places = [i for i in range(1, len(word)) if how != "swapped" or (i < last and word[i] != word[i + 1])]
    if len(word) < 3 or not places:
        return None
    i = int(rng.choice(places))
    return (
        word[:i]
        + {"swapped": word[i : i + 2][::-1], "dropped": "", "doubled": word[i] * 2}[how]
        + word[i + (2 if how == "swapped" else 1) :]
    )
