"""Verb forms that the lexicon lacks: regular ones of Romance verbs, and German ones whose prefix stands apart."""

import re
from collections.abc import Collection, Iterable

from excise.data.topics.frequencies import stop_words, zipf
from excise.data.topics.languages import Lemmas

# Zipf scale: uses in a billion words, log10.
COMMON = 3.5
# Regular endings of verbs, by that of the infinitive: forms that simplemma may have as a noun's alone (donne, trabajo).
ENDINGS = {
    ("fr", "er"): "e es ent ons ez ais ait ions iez aient ai as a âmes èrent é ée és ées ant".split(),
    ("es", "ar"): "o as a amos an e es en é ó aba aban ado ada ando".split(),
    ("es", "er"): "o es e emos en a as an ido ida".split(),
    ("es", "ir"): "o es e imos en a as an ido ida".split(),
}
# Those that only verbs have: what simplemma knows with none of them is no infinitive (mer, hiver, mujer).
SURE = {
    ("fr", "er"): "ons ez ait era erait".split(),
    ("es", "ar"): "aba aron ando ará ó".split(),
    ("es", "er"): "ía ieron iendo erá ió".split(),
    ("es", "ir"): "ía ieron iendo irá ió".split(),
}
# Shorter stems make too many other words with them (ver: va, ir: a).
LEAST_STEM = 2
# What stands apart from a German verb, at the end of its clause (ich stehe auf).
PREFIXES = (
    "ab an auf aus bei da dar ein empor entgegen fern fest fort frei her heraus herein herum herunter hervor hin "
    "hinaus hinein hinunter hinzu los mit nach nieder statt teil um unter vor voran voraus vorbei vorher weg weiter "
    "wieder zu zurück zusammen über durch"
).split()
CLAUSE_END = r"(?=\s*(?:[.,!?;:…»“”\"')–]|$|\b(?:und|oder|aber|als|wie|wenn|weil|dass)\b))"


def is_infinitive(word: str, lemmas: Lemmas) -> bool:
    """Whether a word is the infinitive of a verb with regular endings."""
    stem, end = word[:-2], word[-2:]
    sure = (stem + ending for ending in SURE.get((lemmas.language, end), ()))
    return any(lemmas.known(form) and word in lemmas.lemmas(form) for form in sure)


def verb_of(word: str, lemma: str, lemmas: Lemmas) -> str | None:
    """A common verb of which a noun's form may be one, too (*porte*: porter); None if there is none."""
    for (language, end), endings in ENDINGS.items():
        if language == lemmas.language and not lemma.endswith(end):
            verbs = (word.removesuffix(ending) + end for ending in endings[:3] if word.endswith(ending))
            for verb in verbs:
                if zipf(verb, language) >= COMMON and is_infinitive(verb, lemmas):
                    return verb
    return None


def verb_forms(lemma: str, forms: Collection[str], lemmas: Lemmas, words: Iterable[str]) -> list[str]:
    """Regular forms of a verb that are in the data, and that the lexicon has as those of another word.

    Args:
        lemma: of the topic.
        forms: those that the lexicon has.
        lemmas: of the language.
        words: of the data.
    """
    if len(lemma) < LEAST_STEM + 2 or not is_infinitive(lemma, lemmas):
        return []
    stops = stop_words(lemmas.language)
    regular = {lemma[:-2] + ending for ending in ENDINGS[lemmas.language, lemma[-2:]]} - stops
    own = {lemma, *regular}
    there = (regular & {word.lower() for word in words}) - {*forms}
    return sorted(form for form in there if lemmas.lemmas(form)[0] in own)


def apart(lemma: str, lemmas: Lemmas, words: Iterable[str]) -> str:
    """A pattern of a German verb with its prefix at the end of the clause; empty if it has none or the data lacks it.

    Args:
        lemma: of the topic (*aufstehen*).
        lemmas: of the language.
        words: of the data.
    """
    if lemmas.language != "de" or not lemma.islower():
        return ""
    splits = [(prefix, lemma.removeprefix(prefix)) for prefix in PREFIXES if lemma.startswith(prefix)]
    splits = [(prefix, verb) for prefix, verb in splits if verb.endswith("n") and lemmas.lemmas(verb)[0] == verb]
    splits = [(prefix, verb) for prefix, verb in splits if len(verb) > 3 and lemmas.known(verb)]
    if not splits:
        return ""
    prefix, verb = max(splits, key=lambda split: len(split[0]))
    small = {word.lower() for word in words}
    participle = "ge" if not verb.startswith("ge") else "gege"
    forms = sorted(form for form in small if verb in lemmas.lemmas(form) and not form.startswith(participle))
    if not forms:
        return ""
    return rf"(?i:(?<!\w)(?:{'|'.join(map(re.escape, forms))})\s(?:[^.!?;:]*?\s)?{prefix}(?!\w){CLAUSE_END})"
