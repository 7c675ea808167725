"""Words of a text, and a topic's words among them."""

from collections.abc import Iterable

import regex

from excise.data.scripts import has_letters_without_spaces
from excise.data.words import PART_OF_WORD, caseless, evened
from excise.data.words import words as words_of
from excise.storage.extras import require

WORD_OR_MARK = regex.compile(rf"{PART_OF_WORD.pattern}|[^\w\s]|_")
SPACE_LEFT_BEHIND = regex.compile(r"\s{2,}")
# Signs that are a part of a name: C++ and C# are no C, and .NET is no net.
BEFORE_NAME = regex.compile(r"(?<![\w.])\.$")
BEHIND_NAME = regex.compile(r"\+\+(?![\w+])|#(?!\w)")

Phrase = tuple[str, ...]


def tokens(text: str) -> list[str]:
    """Words and punctuation marks in order, for metrics that compare words.

    Words are those of `excise.data.words`, but that an apostrophe always stands alone, in *don't* as in *l'amour*,
    and a point between digits; the shapes of an apostrophe are the same.

    Example:
        >>> tokens("L’amour, c'est tout.")
        ['L', "'", 'amour', ',', 'c', "'", 'est', 'tout', '.']
    """
    return WORD_OR_MARK.findall(evened(text))


def phrases(words: Iterable[str]) -> dict[Phrase, str]:
    """Topic words as tuples of folded words ("petit pain" has two), each with the way it was first written.

    Raises:
        ValueError: a single string, no words, or an entry without a letter or digit.
        MissingExtraError: a word is of a script without spaces, and the extra `scripts` is not installed.
    """
    if isinstance(words, str):
        raise ValueError(f"words is the string {words!r}: expected a list of words, for example [{words!r}].")
    found: dict[Phrase, str] = {}
    for word in words:
        if isinstance(word, str) and has_letters_without_spaces(word):
            require("scripts", purpose=f"Finding {word!r} in texts without spaces between words")
        phrase = tuple(folded for folded, _, _ in _folded(word)) if isinstance(word, str) else ()
        if not phrase:
            raise ValueError(f"words holds {word!r}: expected a str with at least one letter or digit.")
        found.setdefault(phrase, word)
    if not found:
        raise ValueError("words is empty: expected at least one of the topic's words.")
    return found


def spans(text: str, topic: Iterable[Phrase]) -> dict[Phrase, list[tuple[int, int]]]:
    """Where each phrase stands in a text, as [start, end) characters. Phrases that are not there have no entry.

    Words match whole and without regard to case, as `excise.data.words` has them. Apostrophes and hyphens end a word:
    *amour* is found in *l'amour*, but not in *amours*.
    """
    text_words = _folded(text)
    found: dict[Phrase, list[tuple[int, int]]] = {}
    for phrase in topic:
        for first in range(len(text_words) - len(phrase) + 1):
            window = text_words[first : first + len(phrase)]
            if all(folded == wanted for (folded, _, _), wanted in zip(window, phrase, strict=True)):
                found.setdefault(phrase, []).append((window[0][1], window[-1][2]))
    return found


def rest_of_sentence(text: str, words: Iterable[str]) -> str:
    """A text without the topic's words, to score what is left of a sentence by itself.

    Punctuation stays, an elided article too; the double space that a word leaves behind does not.

    Args:
        text: a sentence.
        words: the topic's words, matched whole and without regard to case.

    Raises:
        ValueError: no words were given, or one of them is not a word.

    Example:
        >>> rest_of_sentence("Le professeur parle de l'amour.", ["professeur", "amour"])
        "Le parle de l'."
    """
    taken = spans(text, phrases(words))
    kept = list(text)
    for start, end in (span for places in taken.values() for span in places):
        kept[start:end] = [""] * (end - start)
    return SPACE_LEFT_BEHIND.sub(" ", "".join(kept)).strip() if taken else text


def _folded(text: str) -> list[tuple[str, int, int]]:
    folded = []
    for word in words_of(text):
        before, behind = BEFORE_NAME.search(text, 0, word.start), BEHIND_NAME.match(text, word.end)
        start = before.start() if before else word.start
        end = behind.end() if behind else word.end
        folded.append((text[start : word.start] + caseless(word.text) + text[word.end : end], start, end))
    return folded
