"""Scripts written without spaces between words: which ones a text has, and the words in a run of their letters."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import regex

from excise.storage.extras import is_installed, require

# What a script is called in messages, and its letters inside brackets of a pattern of the package `regex`.
SPLIT = {
    "Chinese characters": r"\p{Han}",
    "Japanese kana": r"\p{Hiragana}\p{Katakana}",
    "Thai": r"\p{Thai}",
    "Lao": r"\p{Lao}",
    "Khmer": r"\p{Khmer}",
    "Burmese": r"\p{Myanmar}",
}
# ICU has no dictionary for these.
UNSPLIT = {
    "Tibetan": r"\p{Tibetan}",
    "Javanese": r"\p{Javanese}",
    "Balinese": r"\p{Balinese}",
    "Tai Tham": r"\p{Tai_Tham}",
    "Tai Le": r"\p{Tai_Le}",
    "New Tai Lue": r"\p{New_Tai_Lue}",
    "Tai Viet": r"\p{Tai_Viet}",
}
SCRIPTS = SPLIT | UNSPLIT
LETTERS_WITHOUT_SPACES = "".join(SCRIPTS.values())
UNSPACED = regex.compile(f"[{LETTERS_WITHOUT_SPACES}]")
OF_SCRIPT = {name: regex.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}
OTHER_SCRIPTS = regex.compile(f"[{''.join(list(SCRIPTS.values())[2:])}]")
RUN = regex.compile(r"[\p{L}\p{M}\p{Nd}]+")
MOST_LOOKED_AT = 1000
LETTER = regex.compile(r"[\p{L}\p{M}]")
# Hundreds of times as fast on texts of other scripts: the blocks that may hold such letters.
SUSPECT = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf\u1b00-\u1b7f\u2e80-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff"
    "\uff66-\uff9f\U00016fe0-\U0001b2ff\U00020000-\U0003ffff]"
)
# Where fewer texts than this are written in such a script, it is quoted here and there: a run of it is one word.
SHARE = 0.01


def has_letters_without_spaces(text: str) -> bool:
    """Whether any letter of a text is of a script without spaces between words.

    Example:
        >>> has_letters_without_spaces("My \u8001\u5e08"), has_letters_without_spaces("My \u2018teacher\u2019")
        (True, False)
    """
    return not text.isascii() and SUSPECT.search(text) is not None and UNSPACED.search(text) is not None


def script_without_spaces(texts: Iterable[str | None]) -> str | None:
    """The script of which more than a hundredth of the texts are mainly made and that sets no spaces between words.

    Args:
        texts: in any order; None for one that is missing.

    Returns:
        Its name in English, of several the commonest; None for texts whose words are told by spaces.

    Example:
        >>> script_without_spaces(["\u8001\u5e08\u5f88\u597d", "My teacher"])
        'Chinese characters'
        >>> script_without_spaces(["She says \u6c34."])
    """
    filled = [text for text in texts if text]
    if len(SUSPECT.findall("".join(filled))) <= SHARE * len(filled):
        return None
    written = [text for text in filled if has_letters_without_spaces(text) and is_mainly_without_spaces(text)]
    if len(written) <= SHARE * len(filled):
        return None
    whole = "\n".join(written)
    script = max(SCRIPTS, key=lambda name: len(OF_SCRIPT[name].findall(whole)))
    return None if script in SPLIT and _is_spaced_already(written) else script


def is_mainly_without_spaces(text: str) -> bool:
    """Whether most letters of a text are of scripts without spaces between words."""
    return 2 * len(UNSPACED.findall(text)) > len(LETTER.findall(text))


def _is_spaced_already(texts: Sequence[str]) -> bool:
    """Whether somebody has put spaces between the words: what stands between spaces is hardly ever several words."""
    runs = [list(filter(has_letters_without_spaces, RUN.findall(text))) for text in texts[:MOST_LOOKED_AT]]
    total = max(1, sum(map(len, runs)))
    if is_installed("icu4py"):
        return sum(len(list(pieces(run))) for run in chain(*runs)) <= 1.5 * total
    # Nobody is there to ask: only Chinese and Japanese words are so short that they can be told from sentences.
    short = sum(map(len, chain(*runs))) <= 2.5 * total
    return short and sum(len(of) > 1 for of in runs) >= 0.9 * len(runs) and not OTHER_SCRIPTS.search("".join(texts))


def check_split(texts: Iterable[str | None], purpose: str) -> None:
    """Makes sure that the words of texts can be told, whichever script they are written in.

    Args:
        texts: in any order; None for one that is missing.
        purpose: what needs their words, as the subject of a sentence: a function or a verb.

    Raises:
        MissingExtraError: they are written without spaces, and the extra `scripts` is not installed.
        ValueError: nobody splits their script into words.
    """
    script = script_without_spaces(texts)
    if script in UNSPLIT:
        raise ValueError(
            f"{purpose} got texts in {script}, which is written without spaces between words, and no package that "
            "excise knows tells words there. Give texts with a space between words."
        )
    if script is not None:
        require("scripts", purpose=f"{purpose} on texts in {script}, which have no spaces between words,")


def pieces(run: str) -> Iterator[tuple[int, int]]:
    """Where the words of a run of letters stand, as [start, end): by ICU's dictionaries if its script needs them.

    A run of another script is one word, and so is every run where the extra `scripts` is not installed.

    Example:
        >>> list(pieces("teacher"))
        [(0, 7)]
    """
    if not (has_letters_without_spaces(run) and is_installed("icu4py")):
        yield 0, len(run)
        return
    from icu4py.breakers import WordBreaker

    yield from WordBreaker(run, "en").segments()
