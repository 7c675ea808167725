"""Lemmas of a form that belongs to several words: found of find and of found, leaves of leaf and of leave."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from excise.data.topics.corpus import tokens
from excise.data.topics.grammar import FUNCTION_WORDS, possible_tags
from excise.data.topics.inflections import (
    PART_OF_SPEECH,
    STRANGE_TAGS,
    Paradigm,
    inflections,
    known_forms,
    regular_plural,
)
from excise.data.topics.matching import Matcher
from excise.data.topics.wording import Form

PARTS = {"noun": "NOUN", "verb": "VERB", "adjective": "ADJ", "adverb": "ADV"}
BASE_TAG = {"NOUN": "NN", "VERB": "VB", "ADJ": "JJ", "ADV": "RB"}
Texts = Callable[[str], Sequence[str]]
# A reading that nine of ten decided occurrences have takes those that nothing decides; fewer than these tell nothing.
CLEAR_SHARE, MIN_DECIDED = 0.9, 5
# The word itself, as a base form, is taken at this share already.
OWN_SHARE = 2 / 3
# Auxiliaries have the tags of verbs, of all persons.
MODALS = frozenset("can could may might must shall should will would".split())
NOUNS_TOO = frozenset("can mine must will".split())
MODAL_TAGS = frozenset({"VB", "VBP", "VBZ", "VBD"})
MOST_TEXTS = 20_000


class UnclearWordError(ValueError):
    """A word of several readings, of which none is so much commoner that it can be taken; the message lists them."""


@dataclass(frozen=True)
class WordReading:
    """An ordinary word as it is taken.

    Attributes:
        paradigm: its forms.
        forms: what is looked for.
        otherwise: what else it could be, with counts; empty if nothing.
        unclear: whether the user is to be warned.
    """

    paradigm: Paradigm
    forms: tuple[Form, ...]
    otherwise: str = ""
    unclear: bool = False


def lemmas_of(form: str) -> dict[str, frozenset[str]]:
    """The words that a form belongs to, and its tags as a form of each.

    >>> sorted((lemma, *sorted(tags)) for lemma, tags in lemmas_of("found").items())
    [('find', 'VBD', 'VBN'), ('found', 'VB', 'VBP')]
    """
    from lemminflect import getAllLemmas

    lemmas: dict[str, set[str]] = {}
    for part, own in getAllLemmas(form).items():
        for lemma in own if part in BASE_TAG else ():
            all_forms = known_forms(lemma)
            if "VBD" in all_forms:
                all_forms.setdefault("VBN", all_forms["VBD"])
            tags = {t for t, forms in all_forms.items() if form in forms and PART_OF_SPEECH.get(t) == part}
            if not tags and (lemma in STRANGE_TAGS or (part == "VERB" and form == "born")):
                continue
            lemmas.setdefault(lemma, set()).update(tags or {BASE_TAG[part]})
    return {lemma: frozenset(tags) for lemma, tags in lemmas.items()}


def is_ordinary(word: str) -> bool:
    """Whether something is a word in small letters: one with lemmas, or one of grammar (*with*)."""
    return word in FUNCTION_WORDS or bool(lemmas_of(word))


def word_reading(word: str, texts: Texts, reading: str | None = None) -> WordReading:
    """Which of the words that a form belongs to is taken.

    Args:
        word: in lower case.
        texts: gives those that may hold a form, in which its readings are counted.
        reading: a lemma, a part of speech, or None to take the one that nine of ten decided occurrences have, or the
            word itself if it is a base form that two thirds of them have.

    Raises:
        UnclearWordError: no reading is clear.
        ValueError: the reading is none of the word's.
    """
    lemmas = lemmas_of(word)
    if reading is not None:
        return _chosen(word, lemmas, reading, texts)
    others = {lemma for lemma in lemmas if lemma != word}
    if not others:
        paradigm = inflections(word)
        noun = word in NOUNS_TOO
        told = f"{word} is a word of grammar and a noun; reading='noun' takes the noun" if noun else ""
        return WordReading(paradigm, _forms(paradigm, None, texts, chosen=False), told, noun)
    counts, left_open = _counts(word, lemmas, texts)
    decided = sum(counts.values())
    otherwise = _told(word, lemmas, counts, left_open)
    if word in lemmas and _is_derived(word):
        return WordReading(_lexeme(word), _forms(_lexeme(word), None, texts, chosen=False), otherwise, True)
    sparse = 4 * decided < left_open
    if sparse and any(_is_suppletive(word, lemma, lemmas[lemma]) for lemma in others):
        raise UnclearWordError(f"{word!r} has several readings, and its neighbours seldom tell: {otherwise}.")
    best = max(lemmas, key=lambda lemma: (counts[lemma], lemma == word))
    share = counts[best] / decided if decided else 0.0
    if decided < MIN_DECIDED and word in lemmas:
        paradigm = _lexeme(word)
        return WordReading(paradigm, _forms(paradigm, None, texts, chosen=False), otherwise, True)
    if decided >= MIN_DECIDED and (share >= CLEAR_SHARE or (best == word and share >= OWN_SHARE)):
        paradigm = _lexeme(best)
        unclear = best != word or share < CLEAR_SHARE
        built = _forms(paradigm, None, texts, chosen=unclear, given=word)
        return WordReading(paradigm, built, otherwise, unclear or sparse)
    seen = "none of them clear" if decided + left_open else "and the texts have none of them"
    raise UnclearWordError(f"{word!r} has several readings, {seen}: {otherwise}.")


def _chosen(word: str, lemmas: Mapping[str, frozenset[str]], reading: str, texts: Texts) -> WordReading:
    part = PARTS.get(reading.lower())
    if part is None:
        if reading.lower() not in lemmas and reading.lower() != word:
            raise ValueError(
                f"{word!r} is no form of {reading!r}. reading= takes {_choices(lemmas, word)}, a part of speech "
                f"({', '.join(PARTS)}), 'name' or 'word'; forms= takes the exact forms."
            )
        paradigm = _lexeme(reading.lower())
    else:
        fit = [lemma for lemma, tags in lemmas.items() if any(PART_OF_SPEECH[tag] == part for tag in tags)]
        if not fit:
            raise ValueError(f"{word!r} is no {reading}. reading= takes {_choices(lemmas, word)}.")
        if len(fit) > 1 and word not in fit:
            raise UnclearWordError(
                f"{word!r} is a {reading} of several words: take reading={' or '.join(map(repr, fit))}."
            )
        paradigm = _lexeme(word if word in fit else fit[0])
        forms = {tag: form for tag, form in paradigm.forms.items() if PART_OF_SPEECH[tag] == part}
        if part == "NOUN" and not forms:  # what the lexicon has as an auxiliary alone
            forms = {"NN": paradigm.lemma, "NNS": regular_plural(paradigm.lemma)}
            paradigm = replace(paradigm, spellings=(*paradigm.spellings, forms["NNS"]))
        own = [form for form in paradigm.spellings if form in forms.values() or form == word]
        paradigm = replace(paradigm, forms=forms or paradigm.forms, spellings=tuple(own or paradigm.spellings))
    return WordReading(paradigm, _forms(paradigm, part, texts, chosen=True, given=word))


def _lexeme(lemma: str) -> Paradigm:
    try:
        return inflections(lemma)
    except ValueError:
        return Paradigm(lemma, {"NN": lemma}, (lemma,))


def _forms(paradigm: Paradigm, part: str | None, texts: Texts, chosen: bool, given: str = "") -> tuple[Form, ...]:
    """The forms, of those that are other words' as well only the occurrences that neighbours give to this one."""
    built = []
    for form in paradigm.spellings:
        own, rivals = set(paradigm.tags(form)), set[str]()
        for lemma, tags in lemmas_of(form).items():
            if lemma == paradigm.lemma:
                (rivals if part else own).update(tag for tag in tags if part is None or PART_OF_SPEECH[tag] != part)
                own.update(tag for tag in tags if part is None or PART_OF_SPEECH[tag] == part)
            elif not (lemma == form and _is_derived(form)):
                rivals |= tags
        if part == "NOUN":
            if paradigm.forms.get("NNS", form) != form:
                own.discard("NNS")  # an unmarked plural beside a marked one (being, beings)
            if form.endswith("ing"):
                rivals.discard("JJ")
            if form in MODALS:
                rivals |= MODAL_TAGS
        rivals -= own  # what neighbours cannot tell
        if not rivals or not own:
            built.append(Form(form))
            continue
        counts, _ = _counts(form, {"own": frozenset(own), "rival": frozenset(rivals)}, texts)
        share = counts["own"] / (counts["own"] + counts["rival"]) if counts else 1.0
        few = sum(counts.values()) < MIN_DECIDED and not (chosen and form == given)
        if few or (share >= CLEAR_SHARE and not chosen):
            built.append(Form(form))
        else:
            clear = share >= CLEAR_SHARE and not (part and form in FUNCTION_WORDS)
            built.append(Form(form, "any", clear, tuple(sorted(own)), tuple(sorted(rivals))))
    return tuple(built)


def _counts(form: str, lemmas: Mapping[str, frozenset[str]], texts: Texts) -> tuple[Counter[str], int]:
    """How many occurrences the neighbours give to each reading alone, and how many to several."""
    matcher, counts, left_open = Matcher([form]), Counter[str](), 0
    for text in texts(form)[:MOST_TEXTS]:
        for start, end in matcher.spans(text):
            tags = possible_tags(form, tokens(text[:start]), tokens(text[end:]))
            possible = [lemma for lemma, own in lemmas.items() if not own.isdisjoint(tags)]
            if len(possible) == 1:
                counts[possible[0]] += 1
            else:
                left_open += 1
    return counts, left_open


def _told(word: str, lemmas: Mapping[str, frozenset[str]], counts: Counter[str], left_open: int) -> str:
    """The readings with their counts, and how to choose."""
    readings = [f"{_part(tags)} {lemma} {counts[lemma]}" for lemma, tags in lemmas.items()]
    return (
        f"by its neighbours {word} is {', '.join(readings)}, not told {left_open}; "
        f"reading={' or '.join(map(repr, lemmas))} or forms=[...] decides"
    )


def _part(tags: frozenset[str]) -> str:
    names = {part: name for name, part in PARTS.items()}
    return " or ".join(sorted({names[PART_OF_SPEECH[tag]] for tag in tags}))


def _choices(lemmas: Mapping[str, frozenset[str]], word: str) -> str:
    return " or ".join(map(repr, lemmas or [word]))


def _is_derived(form: str) -> bool:
    return form.endswith(("ing", "ed"))


def _is_suppletive(form: str, lemma: str, tags: frozenset[str]) -> bool:
    """Whether a form is the comparative or superlative of a word of another stem: better, of good."""
    return not tags.isdisjoint({"JJR", "JJS", "RBR", "RBS"}) and not form.startswith(lemma[:2])
