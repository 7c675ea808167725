"""Given words of a topic: what a user types, without the signs that belong to no word; and what may have been meant."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

import regex

from excise.data.topics.frequencies import zipf
from excise.data.topics.grammar import FUNCTION_WORDS
from excise.data.topics.lemmas import MODALS
from excise.data.topics.matching import Matcher
from excise.data.topics.sentences import Sentences
from excise.data.topics.spellings import APOSTROPHES, INITIALS, letters, tidy
from excise.data.words import SIGNS, caseless, evened, runs

MOST_WORDS = 10
# Signs that belong to no word, wherever they stand, and those that end a sentence, which belong to a few (Yahoo!).
OUTSIDE = '"\u00ab\u00bb\u201e\u201c\u201d\u201f\u2039\u203a\u300c\u300d,;:\u060c\u3001\u00bf\u00a1\u2013\u2014'
ENDS = ".!?\u2026\u3002\uff01\uff1f"
PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"} | dict.fromkeys(APOSTROPHES, APOSTROPHES)
MARKED = re.compile(r"([*_`]+)(.*[^*_`].*)\1")
ABBREVIATED = frozenset(
    "Mr Mrs Ms Dr St Jr Sr Prof Inc Ltd Co Corp Mt Ave vs etc Gen Sen Rep Rev Hon Capt Lt Col Sgt Bros Esq".split()
)
# Of a word's uses so many have a sign inside a sentence, where the sign belongs to it.
SIGN_SHARE = 0.2
# Words more frequent than this by `zipf` are grammar, if they are no verb, noun or adjective as well; in languages
# other than English there is no list of them.
GRAMMAR_ZIPF, OTHER_ZIPF = 6.0, 6.4
CONTENT_TOO = MODALS | {"like", "mine"}
AUXILIARIES = frozenset({"be", "have", "do"})
# So many texts tell how often a word of grammar is in them.
MOST_TEXTS = 2_000
SEVERAL = re.compile(r"\s*(?:[,;/|&+]|\b(?:or|and|et|ou|und|oder|y|o)\b)\s*")
# What a word with a mistake has in common with the right one, and how much longer one of them may be.
LIKENESS, MOST_UNLIKE = 0.75, 3


def checked_words(words: str | Sequence[str], what: str = "words") -> tuple[str, ...]:
    """Words, names and phrases, composed and each once.

    Raises:
        ValueError: none, one without a letter or figure, or one that is a sentence rather than a phrase.
    """
    if not isinstance(words, (str, Sequence)):
        raise ValueError(f"{what} must be a word or a list of words, got {words!r}.")
    words = (words,) if isinstance(words, str) else tuple(words)
    if not words:
        raise ValueError(f"{what} is empty; give at least one word.")
    for word in words:
        if not isinstance(word, str) or not any(map(str.isalnum, word)):
            raise ValueError(
                f"{what} must be words, names or phrases with at least one letter or figure, got {word!r}."
            )
        if len(word.split()) > MOST_WORDS:
            raise ValueError(
                f"{what} has a phrase of more than {MOST_WORDS} words, {word!r}; give what names the topic."
            )
    return tuple(dict.fromkeys(" ".join(unicodedata.normalize("NFC", word).split()) for word in words))


def bare_word(given: str, sentences: Sentences) -> str:
    """What is given without signs around it, but for those that texts have inside sentences (*Yahoo!*, *.NET*, *U.S.*).

    Args:
        given: checked by `checked_words`.
        sentences: the data.
    """
    word, before = given, ""
    while word != before:
        before = word
        word = re.sub(r"(?<=\w)\((?:e?s|n|in|innen)\)$", "", word)  # book(s)
        if word[0] in PAIRS and len(word) > 2 and word[-1] in PAIRS[word[0]] and word[0] not in word[1:-1]:
            word = word[1:-1]
        word = MARKED.sub(r"\2", word) if MARKED.fullmatch(word) else word
        word = word.strip(OUTSIDE + " ")
        if not re.match(r"\.\w", word):  # .NET
            word = word.lstrip(ENDS)
        if word[:1] in "([{" and PAIRS[word[0]] not in word:
            word = word[1:]
        if word[-1:] in ")]}" and not set(word) & set("([{"):
            word = word[:-1]
        while word[-1:] and word[-1] in ENDS and not _ends_word(word, sentences):
            word = word[:-1]
    return tidy(word) if any(map(str.isalnum, word)) else tidy(given)


def _ends_word(word: str, sentences: Sentences) -> bool:
    """Whether the sign at the end of a word is a part of it: of initials, abbreviations, or inside sentences."""
    stem, sign = word[:-1], word[-1]
    last = re.search(r"\w*$", stem)[0]  # type: ignore[index]
    if not last:
        return False
    if sign == "." and (INITIALS.fullmatch(word) or last in ABBREVIATED or (len(last) == 1 and last.isupper())):
        return True
    texts = sentences.texts(sentences.candidates(letters(stem)))
    every, inside = (
        sum(len(regex.findall(rf"(?<![{SIGNS}])(?i:{regex.escape(stem)}){after}", evened(text))) for text in texts)
        for after in (rf"(?![{SIGNS}])", rf"{regex.escape(sign)}(?=[,;:]|\s+\p{{Ll}})")
    )
    return inside > 0 and inside >= SIGN_SHARE * every


def refuse_grammar(given: str, lemma: str, language: str, sentences: Sentences) -> None:
    """Refuses a word that belongs to no topic: an article, a pronoun, an auxiliary and the like.

    Args:
        given: as the user wrote it.
        lemma: what it was taken as a form of; empty where nothing was taken yet.
        language: of the texts.
        sentences: the data.

    Raises:
        ValueError: it is one; the message tells in how many texts.
    """
    word = caseless(given)
    if not all(is_grammar(part, language) for part in word.split()) and not (language == "en" and lemma in AUXILIARIES):
        return
    matcher, texts = Matcher([word]), sentences.texts(slice(MOST_TEXTS))
    share = sum(map(matcher.touches, texts)) / len(texts)
    raise ValueError(
        f"{given!r} is of grammar alone, in {share:.0%} of the texts, and stop words cannot be a topic: nothing could "
        "stand in its place, and what a model forgets with it is its language. Give a word with a meaning of its own; "
        "reading='word' takes it all the same, and reading='name' a name that is written so."
    )


def is_letter(word: str) -> bool:
    """Whether something is one letter of an alphabet in which a letter alone is seldom a word (but not of Hangul)."""
    return len(word) == 1 and regex.match(r"[\p{Latin}\p{Greek}\p{Cyrillic}]", word) is not None


def refuse_letter(given: str, small: int, capital: int, language: str, sentences: Sentences) -> None:
    """Refuses a letter by itself that the texts do not have as a name (*C*).

    Args:
        given: as the user wrote it.
        small: how often it is in small letters inside sentences.
        capital: how often it is in capitals there.
        language: of the texts.
        sentences: the data.

    Raises:
        ValueError: always; the message tells the counts.
    """
    refuse_grammar(given, "", language, sentences)
    raise ValueError(
        f"{given!r} is a letter by itself, inside sentences {small} times small and {capital} times a capital: what it "
        f"stands for is not told. Give a word; reading='name' takes the capital, forms=[{given!r}] the letter."
    )


def is_grammar(word: str, language: str) -> bool:
    """Whether a word, without case, is one of grammar: among the most frequent ones, and of no meaning of its own."""
    if language != "en":
        return zipf(word, language) >= OTHER_ZIPF
    shortened = re.fullmatch(r"(?:\w+n't|\w+'(?:s|m|re|ve|ll|d))", evened(word)) is not None
    frequent = zipf(word, language) >= GRAMMAR_ZIPF
    return (word in FUNCTION_WORDS and word not in CONTENT_TOO and (frequent or word in ("am", "did", "does"))) or (
        shortened and (word.split("'")[0] in FUNCTION_WORDS or word.endswith("n't"))
    )


def meant(given: str, sentences: Sentences) -> str:
    """What a user may have meant by a word that the texts do not have, as a sentence after a space; empty if unknown.

    Args:
        given: as the user wrote it.
        sentences: the data.
    """
    known: dict[str, str] = {}
    for word in sorted(sentences.words, reverse=True):
        known[caseless(word)] = word  # small letters last
    parts = [part for part in SEVERAL.split(given) if part]
    if len(parts) > 1 and all(caseless(word) in known for part in parts for word in runs(evened(part))):
        return f" For several words give a list: {parts}."
    changed = given
    for word in runs(evened(given)):
        if caseless(word) not in known and (other := _alike(caseless(word), known.keys())) is not None:
            changed = changed.replace(word, known[other])
    return f" Did you mean {changed!r}?" if changed != given else ""


def _alike(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like another one, which has a mistake or two."""
    near = [one for one in known if abs(len(one) - len(word)) <= MOST_UNLIKE and len(one) > 2]
    likely: Collection[str] = difflib.get_close_matches(word, near, n=3, cutoff=LIKENESS)
    # A difference is less likely in the first letter than elsewhere.
    return max(
        likely, key=lambda one: (one[0] == word[0], difflib.SequenceMatcher(None, word, one).ratio()), default=None
    )
