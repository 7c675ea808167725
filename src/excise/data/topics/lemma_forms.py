"""Forms of a topic's word that texts have, in languages other than English: those whose lemma is the topic's."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice, product

from excise.data.topics.compounds import LEAST_PART, compounds_in
from excise.data.topics.frequencies import stop_words, zipf
from excise.data.topics.given import refuse_grammar
from excise.data.topics.inflections import Paradigm, name_paradigm
from excise.data.topics.languages import (
    BARE_CAPITALS,
    CAPITAL_NOUNS,
    COMPOUNDS,
    DOTLESS,
    ELISIONS,
    Lemmas,
    first_names,
    has_lemmas,
    is_name,
    plain,
    small,
    without_article,
    without_shouting,
)
from excise.data.topics.matching import capital_share
from excise.data.topics.readings import Taken
from excise.data.topics.sentences import Sentences
from excise.data.topics.spellings import letters, number_spellings, tidy
from excise.data.topics.verb_forms import apart, verb_forms, verb_of
from excise.data.topics.wording import Case, Form
from excise.data.words import caseless
from excise.storage.display import warn

NAME_SHARE = 0.9
# Regular plurals, which simplemma has for the commonest words only; persons of Romance verbs end alike.
PLURALS = {"fr": ("s", "x"), "es": ("s", "es"), "pt": ("s", "es")}
GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
# What stands before a noun, and the share of a word's occurrences behind one by which it is taken as a noun too.
ARTICLES = {
    "de": r"de[rmns]|die|das|(?:k?ein|[mds]ein|ihr|unser)(?:e[rmns]?)?|(?:dies|jed)e[rmns]?|zum|zur|im|beim|vom",
    "fr": "le|la|les|l|une?|des|du|d|aux?|ce|cet|cette|ces|[mts](?:on|a|es)|[nv]otre|[nv]os|leurs?|quelle?s?",
    "es": "el|la|los|las|una?s?|al|del|est[aeo]s?|es[aeo]s?|mis?|tus?|sus?|nuestr[ao]s?|de|en|sin|con",
}
ARTICLE_SHARE = 0.2
MOST_COMBINATIONS = 200
VOWELS = frozenset("aeiouy")
ELIDED = re.compile(r"(?<=\w)['\u2019](?=\w)")
READINGS = ("noun", "verb", "adjective", "adverb")


def taken_in(language: str, given: str, every: Sequence[Sentences], reading: str | None = None) -> Taken:
    """What a word, name or phrase is taken as, in a language other than English.

    A name is found with its capital only. In German, where nouns have one too, a word is taken as it is written where
    the texts have it both ways (*Essen*, *essen*). Which of two words a form belongs to (*livre*) is not told apart.

    Args:
        language: its code.
        given: in any form.
        every: the data, and that to evaluate on.
        reading: ``"name"``, ``"word"``, a lemma, or None.

    Raises:
        ValueError: the reading is a part of speech.
    """
    if reading in READINGS:
        raise ValueError(
            f"reading={reading!r} is for English; in {language!r} it takes 'name', 'word' or a lemma, or give forms= "
            "with the exact forms."
        )
    words: frozenset[str] = frozenset().union(*(sentences.words for sentences in every))
    lemmas = Lemmas(language)
    bare = unicodedata.normalize("NFC", given) if reading == "name" else without_article(tidy(given), language)
    told = "" if caseless(bare) == caseless(tidy(given)) else "without its article"
    bare = without_shouting(bare, lemmas, words)
    if reading is None and not (language in CAPITAL_NOUNS and bare.istitle()):  # Sie, das Sein
        refuse_grammar(bare, "", language, every[0])
    texts = [text for sentences in every for text in sentences.texts(sentences.candidates(letters(bare)))]
    taken = _phrase if not bare.isalpha() else _word
    own = taken(language, bare, texts, words, reading, every)
    return replace(own, given=given, otherwise="; ".join(filter(None, (told, own.otherwise))))


def _word(
    language: str, given: str, texts: Sequence[str], words: Collection[str], reading: str | None,
    every: Sequence[Sentences],
) -> Taken:  # fmt: skip
    share, spelling = capital_share(given, [ELIDED.sub(" ", text) for text in texts] if language in ELISIONS else texts)
    lemmas = Lemmas(language)
    if reading == "name" or (reading is None and _is_name(given, share, spelling, lemmas, texts)):
        spelling = spelling if share >= NAME_SHARE else given[0].upper() + given[1:]
        genitives = [spelling + "s"] if language in CAPITAL_NOUNS and spelling + "s" in words else []
        return _taken(given, "a name", name_paradigm(spelling, *genitives), "name")
    if not has_lemmas(language):
        warn(
            f"There are no inflections for language={language!r}, so that {given!r} is looked for in this form alone. "
            "Give all its forms as a list of words."
        )
        return _taken(given, "a word without inflections", Paradigm(given.lower(), {"NN": given}, (given.lower(),)))
    nouns, both = language in CAPITAL_NOUNS, 1 - NAME_SHARE < share < NAME_SHARE
    as_noun = nouns and (share >= NAME_SHARE or (given[0].isupper() and not share < 1 - NAME_SHARE))
    own = given[0].upper() + small(given[1:], language) if as_noun else small(given, language)
    lemma = reading if reading not in (None, "word") else _lemma(own, lemmas)
    other = "" if reading not in (None, "word") else _other_lemma(own, lemmas)
    if other:
        lemma = own
    forms = _forms(lemma, own, lemmas, words, as_noun)
    told, compounds = [], compounds_in(lemma, forms, lemmas, words) if language in COMPOUNDS else []
    aside = [Form(word, "compound") for word in compounds]
    if other:
        told.append(f"{own} may be a form of {other}, too, which is not told apart; reading={other!r} takes that")
        verbs = [form for form in forms if form != own and lemmas.lemmas(form)[0] == other]
        forms = [form for form in forms if form not in verbs]
        aside += [Form(form, "reading") for form in verbs]
    elif reading is None and _is_commoner(own, lemma, language):
        told.append(f"reading={own!r} takes {own} as a word of its own")
    if nouns and both:
        told.append(f"{share:.0%} of those inside sentences have a capital; the other ones are another word")
    for form in verb_forms(lemma, forms, lemmas, words):
        if _has_articles(form, language, every[0].texts(every[0].with_letters(form))):
            aside.append(Form(form, "reading"))
            told.append(f"{form} is a noun, too, and in no set; forms= takes it")
        else:
            forms.append(form)
    unclear = bool(told)
    if separate := apart(lemma, lemmas, words):
        told.append("in no set where its prefix stands apart")
    paradigm = Paradigm(lemma, {"NN": lemma}, tuple(forms))
    what = "a word" if lemma == own else f"a form of {lemma}"
    if not other and (verb := verb_of(own, lemma, lemmas)) is not None:
        told.append(f"{own} may be a form of {verb}, which is not told apart")
    case: Case = ("written" if as_noun else "lower") if nouns and both else "any"
    capital = own[0].upper() + own[1:]
    person = capital in first_names(language) and capital in words  # who is it where a sentence starts with it
    two = not nouns and (person or both or (share > 0 and is_name(capital, language)))
    if two:
        told.append(
            f"{share if share > 0 else 0:.0%} of those inside sentences are {capital}; reading='name' takes that"
        )
    taken = _taken(given, what, paradigm, case, "; ".join(told), unclear or (two and both), aside)
    if two:  # what names have of it
        lower = (
            replace(form, case="lower", open=not (both or person))
            if form.case == "any" and form.spelling == own
            else form
            for form in taken.forms
        )
        taken = replace(taken, forms=tuple(lower))
    return replace(taken, apart=separate)


def _taken(
    given: str,
    what: str,
    paradigm: Paradigm,
    case: Case = "any",
    told: str = "",
    unclear: bool = False,
    aside: Sequence[Form] = (),
) -> Taken:
    forms = [Form(form, case, open=case in ("any", "name")) for form in paradigm.spellings]
    return Taken(given, what, paradigm, (*forms, *aside), told, unclear)


def _is_name(word: str, share: float, spelling: str, lemmas: Lemmas, texts: Sequence[str]) -> bool:
    capital = share >= NAME_SHARE
    if lemmas.language in CAPITAL_NOUNS:
        known = lemmas.known(spelling)
        return (
            capital and (not known or is_name(spelling, lemmas.language)) and not _has_articles(spelling, "de", texts)
        )
    known_name = share > 0 and is_name(spelling, lemmas.language)
    return capital or (word[0].isupper() and (known_name or not share < 1 - NAME_SHARE))


def _phrase(
    language: str, given: str, texts: Sequence[str], words: Collection[str], reading: str | None,
    every: Sequence[Sentences],
) -> Taken:  # fmt: skip
    """Several words, or one with a hyphen or a number: a name if it has capitals, else with each word inflected."""
    if numbers := number_spellings(given, language):
        return _taken(given, "a number", name_paradigm(given, *numbers))
    lemmas, together, lower = Lemmas(language), " ".join(texts), given.lower()
    first, hyphen, last = given.rpartition("-")
    if reading != "name" and language in CAPITAL_NOUNS and hyphen and _is_noun(last, lemmas) and " " not in given:
        noun = _lemma(last, lemmas)
        forms = [f"{first}-{form}" for form in _forms(noun, last, lemmas, words, True)]
        spellings = tuple(dict.fromkeys([f"{first}-{noun}", *(form for form in forms if form in together)]))
        return _taken(given, "a word", Paradigm(spellings[0], {"NN": spellings[0]}, spellings))
    if reading == "name" or (reading is None and given != lower):
        genitives = [given + "s"] if language in CAPITAL_NOUNS and given + "s" in together else []
        ordinary = lower != given and lower in together
        told = f"not {lower}, which reading='word' takes" if ordinary else ""
        return _taken(
            given, "a name", name_paradigm(given, *genitives), "written" if ordinary else "any", told, ordinary
        )
    pieces = [
        [piece] if not piece.isalpha() or len(piece) < LEAST_PART else _forms(piece, piece, lemmas, words, False)
        for piece in re.findall(r"\w+|\W+", lower)
    ]
    name = re.sub(r"\w+", lambda piece: piece[0].capitalize() if len(piece[0]) >= LEAST_PART else piece[0], lower)
    is_name = reading is None and name in together and len(name.split()) > 1
    told = f"not {name}, which reading='name' takes" if is_name else ""
    lowered = together.lower()
    spelled = ("".join(parts) for parts in islice(product(*pieces), MOST_COMBINATIONS))
    spellings = tuple(dict.fromkeys([lower, *(form for form in spelled if form in lowered)]))
    paradigm = Paradigm(lower, {"NN": lower}, spellings)
    return _taken(given, "an ordinary phrase", paradigm, "lower" if is_name else "any", told, is_name)


def _is_noun(word: str, lemmas: Lemmas) -> bool:
    noun = bool(word) and word[0].isupper() and lemmas.known(word) and lemmas.lemmas(word)[0][0].isupper()
    return noun and not is_name(word, lemmas.language)


def _lemma(word: str, lemmas: Lemmas) -> str:
    own = lemmas.lemmas(word)[0]
    if word[0].isupper() and own[0].islower():  # the polite one of two German pronouns (Sie), a nominalised verb
        return word
    return own if lemmas.known(word) or own.lower() != word.lower() else word


def _other_lemma(word: str, lemmas: Lemmas) -> str:
    """The lemma of a form that is a word of its own, too (*été*: être, *fiets*: fietsen); empty if it has no such."""
    other = lemmas.lemmas(word)[0]
    if other.lower() == word.lower():
        return ""
    grammar = {lemma for stop in stop_words(lemmas.language) for lemma in (stop, lemmas.lemmas(stop)[0])}
    return other if other in grammar or lemmas.lemmas(other)[0] == word else ""


def _is_commoner(word: str, lemma: str, language: str) -> bool:
    """Whether a form is another word than its lemma by its first letters, and commoner: the lexicon may be wrong."""
    alike = plain(word).startswith(plain(lemma)[:-2])
    return not alike and zipf(word, language) >= zipf(lemma, language)


def _forms(lemma: str, given: str, lemmas: Lemmas, words: Iterable[str], as_noun: bool) -> list[str]:
    """The words of the data that are forms of a lemma, base form first."""
    spelled = {unicodedata.normalize("NFC", word) for word in words}
    if as_noun:
        spelled = {word for word in spelled if word[0].isupper() and not (word.isupper() and len(word) > 1)}
    else:
        spelled = {small(word, lemmas.language) for word in spelled}
    forms = {word for word in spelled if _is_form(word, lemma, lemmas)}
    singular = {lemma, *forms}
    if lemmas.language == "es" and lemma.endswith("o") and lemma in lemmas.lemmas(lemma[:-1] + "a"):
        singular.add(lemma[:-1] + "a")
    plurals = {form + end for form in singular for end in PLURALS.get(lemmas.language, ())} & spelled
    forms |= {form for form in plurals if _is_plural(form, singular, lemmas)}
    if lemmas.language in BARE_CAPITALS:
        shouted = {small(word, lemmas.language) for word in words if word.isupper()}
        forms |= {bare for form in {*forms, lemma} if not lemmas.known(bare := plain(form))} & shouted
    if lemmas.language in DOTLESS:  # which the search, that knows no languages, has as those of an i
        forms |= {word for word in words if "I" in word and small(word, lemmas.language) in {*forms, lemma}}
    if as_noun and lemmas.language == "de" and lemma[-1] not in "sßxz":
        forms |= {form for form in {lemma + "s"} & spelled if lemmas.lemmas(form)[0] == form}
    if lemmas.language == "de":
        forms |= {form.translate(GERMAN) for form in {*forms, lemma}} & spelled
    if lemmas.language in ELISIONS:  # capitals are often written without their accents (Ecole), œ as two letters
        forms |= {form.replace("œ", "oe") for form in {*forms, lemma}} & spelled
        forms |= {bare for form in {*forms, lemma} if not lemmas.known(bare := _bare_first(form))} & spelled
        # A consonant by itself is a word that is cut off (s'il), whatever the lexicon has it as.
        forms = {form for form in forms if len(form) > 1 or plain(form) in VOWELS}
    return list(dict.fromkeys([lemma, given, *sorted(forms)]))


def _is_plural(form: str, singular: Collection[str], lemmas: Lemmas) -> bool:
    first = lemmas.lemmas(form)[0]
    if first != form or lemmas.known(form) or form in stop_words(lemmas.language):
        return first != form and first in singular
    # The lexicon has no such word at all (étés): it is one if it is the rarer one (Paris is no plural of pari).
    frequencies = [zipf(one, lemmas.language) for one in (form, form[:-1])]
    return len(form) > LEAST_PART and frequencies[0] < frequencies[1]


def _is_form(word: str, lemma: str, lemmas: Lemmas) -> bool:
    own = lemmas.lemmas(word)
    if lemma in own:
        return True
    # simplemma has the participle with the wrong one of several verbs (gegessen: weiteressen).
    prefix = own[0][: -len(lemma)] if own[0].endswith(lemma) and lemma[0].islower() else ""
    return lemmas.language == "de" and bool(prefix) and not word.startswith(prefix) and word.startswith("ge")


def _bare_first(form: str) -> str:
    return unicodedata.normalize("NFD", form[0])[0] + form[1:]


def _has_articles(noun: str, language: str, texts: Iterable[str]) -> bool:
    """Whether a word stands behind an article as nouns do (*das Essen*), and not by itself (*in Essen*)."""
    pattern = re.compile(rf"(?<!\w)(?:({ARTICLES[language]})[ '\u2019])?{re.escape(noun)}(?!\w)", re.IGNORECASE)
    articles = [bool(article) for text in texts for article in pattern.findall(text)]
    return sum(articles) > ARTICLE_SHARE * len(articles)
