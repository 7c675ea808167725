"""Casing of a word in the data: how often it is written with a capital, and with which."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from excise.data.topics.lemmas import lemmas_of
from excise.data.topics.matching import Matcher
from excise.data.topics.sentences import Sentences
from excise.data.topics.spellings import cased_key, dotted, letters
from excise.data.topics.wording import shouted, starts

# Words that are something else in capitals.
ACRONYMS = frozenset(
    "aids am apt arm bios cad chip dos ear eta gap gem id it lan led lot mit mod nice pan pet pin ram rem sad sap sars "
    "seal sim sos spa swot un us usher wasp who".split()
)


@dataclass(frozen=True)
class Casing:
    """How a word is written in the data.

    Attributes:
        middle: inside sentences and among small letters, by spelling: there a capital tells a name.
        anywhere: in all places.
    """

    middle: Counter[str]
    anywhere: Counter[str]

    @classmethod
    def of(cls, words: str, texts: Sequence[str]) -> "Casing":
        """Counts the spellings of a word or phrase in texts."""
        matcher, middle, anywhere = Matcher([words, *_dotted(words)]), Counter[str](), Counter[str]()
        for text in texts:
            for span in matcher.spans(text):
                spelling = " ".join(text[slice(*span)].split())
                anywhere[spelling] += 1
                acronym = spelling.isupper() and len(spelling) > 1  # which no sentence's start makes
                if (acronym or not starts(text, span)) and not shouted(text, span):
                    middle[spelling] += 1
        return cls(middle, anywhere)

    def capital(self, given: str = "") -> tuple[int, str]:
        """How often it has a capital inside sentences, and the commonest of these spellings, or that given."""
        capital = Counter({form: n for form, n in self.middle.items() if form != form.lower()})
        acronym = given.isupper() and len(given) > 1 and " " not in given
        acronym &= bool(lemmas_of(given.lower())) or any(form.isupper() for form in self.middle)
        if acronym:
            capital = Counter({form: n for form, n in capital.items() if form.isupper()})
        if not capital:
            return 0, given
        same = [form for form in capital if cased_key(form) == cased_key(given)]
        keep = same and (acronym or not given.isupper())
        return sum(capital.values()), given if keep else max(capital, key=lambda form: (capital[form], form))

    def stressed(self, given: str) -> int:
        """How often a word given in small letters is in capitals for stress (*a DOG*), which an acronym never is."""
        if given != given.lower() or given in ACRONYMS:
            return 0
        capitals = sum(n for form, n in self.middle.items() if _in_capitals(form))
        return capitals if capitals < self.small else 0

    def caseless(self, word: str) -> "Casing":
        """The same, as if all were in small letters."""
        return Casing(Counter({word.lower(): self.middle.total()}), self.anywhere)

    def unstressed(self) -> "Casing":
        """The same without what is in capitals."""
        return Casing(Counter({form: n for form, n in self.middle.items() if not _in_capitals(form)}), self.anywhere)

    @property
    def small(self) -> int:
        """How often it is in small letters inside sentences."""
        return sum(n for form, n in self.middle.items() if form == form.lower())


def _in_capitals(form: str) -> bool:
    return form.isupper() and len(form) > 1


def texts_with(words: str, sentences: Sentences) -> list[str]:
    """The texts that may hold a word or phrase, in some case."""
    pieces = [piece for form in (words, *_dotted(words)) for piece in letters(form)]
    return sentences.texts(sentences.candidates(pieces))


def _dotted(words: str) -> list[str]:
    """Of a word that may be an acronym, the acronym with its dots."""
    return [dotted(words.upper())] if dotted(words.upper()) else []
