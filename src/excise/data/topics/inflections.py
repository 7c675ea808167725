"""Inflected forms of a word: love, loves, loved, loving."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from excise.data.topics.grammar import FUNCTION_WORDS
from excise.data.topics.spellings import key

# The order in which a form with several readings is shown; base forms first.
TAGS = ("NN", "VB", "VBP", "JJ", "RB", "NNS", "VBZ", "VBD", "VBN", "VBG", "JJR", "JJS", "RBR", "RBS")
# Tags that a word has no forms for, though lemminflect has them.
STRANGE_TAGS = {"well": ("JJR", "JJS"), "ill": ("JJR", "JJS")}
# In a noun with hyphens: what follows its head (mother-in-law), or ends it (check-in).
LINKS = frozenset("about by down in of off on out over to up with de at for".split())
PART_OF_SPEECH = {tag: {"N": "NOUN", "V": "VERB", "J": "ADJ", "R": "ADV"}[tag[0]] for tag in TAGS}


@dataclass(frozen=True)
class Paradigm:
    """All forms of one word, by their Penn Treebank tag.

    Attributes:
        lemma: the base form; for a name, the name.
        forms: tag -> form, in a fixed order. A name has the one tag ``NNP``.
        spellings: every form, variants included, base form first.
        part: of a name, the part of it that stands for it alone (a surname), if it is looked for.
    """

    lemma: str
    forms: Mapping[str, str] = field(default_factory=dict)
    spellings: tuple[str, ...] = ()
    part: str = ""

    @property
    def is_name(self) -> bool:
        """Whether the word is a proper name, which has no inflections and a capital letter."""
        return "NNP" in self.forms

    @property
    def parts_of_speech(self) -> frozenset[str]:
        """NOUN, VERB, ADJ, ADV: those for which the word has forms."""
        return frozenset(PART_OF_SPEECH[tag] for tag in self.forms if tag in PART_OF_SPEECH)

    def form_of(self, text: str) -> str | None:
        """The form that stands in a text, however it is written there; None where it is none of these."""
        return next((form for form in self.spellings if key(form) == key(text)), None)

    def name_for(self, form: str, topic: "Paradigm") -> str:
        """What of this name stands for a form of another one: its last word for a part, else the whole."""
        part = form != topic.lemma and f" {form} " in f" {topic.lemma} "
        if topic.part and (part or form == topic.part):
            return self.part or self.lemma.split()[-1]
        return self.lemma

    def tags(self, form: str) -> tuple[str, ...]:
        """The tags that a form can have: ``loves`` is a plural noun or a verb (NNS, VBZ)."""
        return tuple(tag for tag, own in self.forms.items() if own == form)


def name_paradigm(name: str, *others: str, part: str = "") -> Paradigm:
    """The paradigm of a proper name: itself only (Mary, and with it Mary's, but not marry).

    Args:
        name: as it is written.
        others: further spellings that are looked for (GPUs).
        part: the part that stands for it alone (Rowling).
    """
    return Paradigm(name, {"NNP": name}, tuple(dict.fromkeys([name, *others, *([part] if part else [])])), part)


def inflections(word: str) -> Paradigm:
    """All inflections of an ordinary word, whichever of them is given.

    The data is lemminflect's (derived from the NIH SPECIALIST lexicon). Every part of speech of the lemma counts, so
    *love* has the forms of the noun and of the verb. A word that lemminflect does not know is taken as a noun with a
    regular plural (*podcasts*), one with hyphens as its head is inflected (*mothers-in-law*).

    Args:
        word: in lower case; a base form or an inflected one.

    Raises:
        ValueError: an inflected form of several words (*leaves*: leaf, leave); give the base form instead.

    >>> inflections("love").spellings
    ('love', 'loves', 'loved', 'loving')
    >>> inflections("went").lemma
    'go'
    """
    from lemminflect import getAllLemmas

    lemmas = sorted({lemma for found in getAllLemmas(word).values() for lemma in found if not _strange(lemma, word)})
    if word not in lemmas and len(lemmas) > 1:
        raise ValueError(f"{word!r} is a form of several words, {lemmas}; give the one you mean.")
    lemma = word if word in lemmas or not lemmas else lemmas[0]
    forms = known_forms(lemma)
    if not lemmas and word not in FUNCTION_WORDS and word.replace("-", "").isalpha():
        return _unknown_noun(word) if "-" not in word else _hyphened(word)
    return _paradigm(lemma, forms)


def known_forms(lemma: str) -> dict[str, tuple[str, ...]]:
    """The forms of a word by their tags as lemminflect has them, but for those that are another word's today.

    *Better* and *best* of an adjective are those of *good*, and *born* is a word by itself.
    """
    from lemminflect import getAllInflections

    forms = {tag: own for tag, own in getAllInflections(lemma).items() if tag not in STRANGE_TAGS.get(lemma, ())}
    return {tag: tuple(form for form in own if not _strange(lemma, form)) for tag, own in forms.items()}


def _strange(lemma: str, form: str) -> bool:
    return (lemma, form) == ("bear", "born")


def regular_plural(noun: str) -> str:
    """The plural of a noun by rule.

    >>> [regular_plural(noun) for noun in ("blog", "hashmash", "flashcarry", "caf\u00e9")]
    ['blogs', 'hashmashes', 'flashcarries', 'caf\u00e9s']
    """
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return noun + ("es" if re.search(r"(?:s|x|z|ch|sh)$", noun) else "s")


def _unknown_noun(word: str) -> Paradigm:
    """A noun that the lexicon does not have, given as its singular or as its plural."""
    if not word.isascii() and not any("LATIN" in unicodedata.name(sign, "") for sign in word):
        return Paradigm(word, {"NN": word}, (word,))  # of a script that has no such plural
    plural = re.search(r"[^siu]s$", word) is not None and len(word) > 3
    if plural:
        stem = word[:-2] if re.search(r"(?:[sxz]|ch|sh)es$", word) else word[:-1]
        return Paradigm(stem, {"NN": stem, "NNS": word}, (stem, word))
    return Paradigm(word, {"NN": word, "NNS": regular_plural(word)}, (word, regular_plural(word)))


def _hyphened(word: str) -> Paradigm:
    """A noun of several words, of which the head has the plural: x-rays, mothers-in-law, passers-by, check-ins."""
    parts = word.split("-")
    inner = [place for place, part in enumerate(parts) if part in LINKS and place]
    after = bool(inner) and (inner[-1] < len(parts) - 1 or re.search(r"(?:er|or)s?$", parts[0]) is not None)
    head = inner[0] - 1 if after else len(parts) - 1
    try:
        own = inflections(parts[head])
    except ValueError:  # a form of several words stays as it is
        own = Paradigm(parts[head], {"NN": parts[head]})
    single = own.lemma if own.forms.get("NNS") == parts[head] else parts[head]
    plural = own.forms.get("NNS") or regular_plural(single)
    if parts[head] in LINKS or parts[head] not in (single, plural):
        single, plural = parts[head], regular_plural(parts[head])
    whole = ["-".join([*parts[:head], form, *parts[head + 1 :]]) for form in (single, plural)]
    return Paradigm(whole[0], {"NN": whole[0], "NNS": whole[1]}, tuple(dict.fromkeys(whole)))


def is_one_lemma(form: str) -> bool:
    """Whether a form is a base form and of one known word only: not *saws*, and not *saw*, which is *see* as well."""
    from lemminflect import getAllInflections, getAllLemmas

    lemmas = {lemma for found in getAllLemmas(form).values() for lemma in found}
    return lemmas == {form} and bool(getAllInflections(form))


def _paradigm(lemma: str, found: Mapping[str, tuple[str, ...]]) -> Paradigm:
    found = {tag: forms for tag, forms in found.items() if tag in PART_OF_SPEECH}
    if "VBD" in found:
        # lemminflect leaves out the participle where it equals the past (loved, loved).
        found = {"VBN": found["VBD"], **found}
    forms = {tag: _first(found[tag], lemma, tag) for tag in TAGS if tag in found}
    variants = [form for tag in TAGS for form in found.get(tag, ()) if form.replace("-", "").isalpha()]
    return Paradigm(lemma, forms or {"NN": lemma}, tuple(dict.fromkeys([lemma, *variants])))


def _first(forms: tuple[str, ...], lemma: str, tag: str) -> str:
    # An unmarked plural beside a marked one (water, waters) would make every singular ambiguous.
    marked = [form for form in forms if form != lemma] if tag == "NNS" else []
    return (marked or forms)[0]
