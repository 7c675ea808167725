"""Compounds in languages that write them as one word (*Trinkwasser*): those of a data set that hold a word."""

from collections.abc import Iterable, Sequence

from excise.data.topics.languages import Lemmas, plain

# What stands between the parts of a compound, and the fewest letters of a part.
LINKS = ("", "s", "es", "n", "en", "er", "e")
LEAST_PART = 3


def compounds_in(lemma: str, forms: Sequence[str], lemmas: Lemmas, words: Iterable[str]) -> list[str]:
    """The words that hold a form beside another word of the language (*Trinkwasser*, *Wasserflasche*, *Bücherwand*)."""
    own, stem = {form.lower() for form in forms}, plain(lemma)[: max(LEAST_PART, len(lemma) - 1)]
    found = []
    for word in sorted({word.lower() for word in words} - own):
        if stem not in plain(word) or len(word) < len(stem) + LEAST_PART:
            continue
        splits = [(word[:place], word[place:]) for place in range(LEAST_PART, len(word) - LEAST_PART + 1)]
        if any(
            (_is_part(one, lemma, lemmas) and _is_word(other, lemmas))
            or (_is_part(other, lemma, lemmas) and _is_word(one, lemmas))
            for one, other in splits
        ):
            found.append(word)
    return found


def _is_part(part: str, lemma: str, lemmas: Lemmas) -> bool:
    return lemma in lemmas.lemmas(part) or lemma in lemmas.lemmas(part.capitalize())


def _is_word(part: str, lemmas: Lemmas) -> bool:
    """Whether it is a word, with or without what links the parts of a compound."""
    bare = {part.removeprefix(link) for link in LINKS} | {part.removesuffix(link) for link in LINKS}
    return any(len(one) >= LEAST_PART and (lemmas.known(one) or lemmas.known(one.capitalize())) for one in bare)
