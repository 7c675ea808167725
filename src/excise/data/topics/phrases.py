"""Phrases: the forms of an ordinary one (machine learning, give up, glass of wine)."""

import re
from collections.abc import Sequence

from excise.data.topics.inflections import Paradigm, inflections

# In front of one of these the first word of an ordinary phrase is a verb, if it can be one (give up, take a look).
PARTICLES = frozenset(
    "up down in on off out away back over around about along through forward forth by after into onto to with without "
    "together apart aside across ahead upon at against for the a an my your his her its our their one's oneself".split()
)
VERBS = frozenset(
    "add ask back be blow break bring build burn call calm carry catch check cheer clean clear close come "
    "count cross cut deal die do dress drink drive drop eat end fall feel fight figure fill find fit get give "
    "go grow hand hang have hear hit hold hurry keep kick kill knock lay leave let lie live lock log look "
    "lose make meet mess mix move open pass pay pick play point pull push put read ring rule run say see sell "
    "send set settle shake show shut sign sit sleep slow speak stand start stay stick stop switch take talk "
    "tear tell think throw tie tidy touch try turn use wait wake walk want wash watch wear wind wipe work "
    "write".split()
)
INSIDE = frozenset("of in de at to on for with by".split())
# In front of a name these are verbs, too (speak French, visit Boston).
WITH_NAMES = VERBS | frozenset(
    "learn study speak teach know understand love like hate visit celebrate marry miss remember forget help "
    "prefer translate practise practice".split()
)
# A phrase that begins with one of these has no plural: every day, this morning, at home.
NO_PLURAL = frozenset("last next this every each that one all at in on by for of to from with as".split())
OBJECTS = "it them him her me us you this that these those"


def phrase_paradigm(phrase: str) -> Paradigm:
    """The forms of an ordinary phrase: of a verb with a particle those of the verb, of others those of the head noun.

    The head is the last word, or the one before *of*, *in* and the like.

    >>> phrase_paradigm("give up").spellings
    ('give up', 'gives up', 'gave up', 'given up', 'giving up')
    >>> phrase_paradigm("glass of wine").spellings
    ('glass of wine', 'glasses of wine')
    """
    words = re.split(r"([\s-])", phrase)
    plain, place = words[::2], _head(words[::2])
    if not plain[place].isalpha() or (len(plain) > 1 and plain[0] in NO_PLURAL):
        return Paradigm(phrase, {"NN": phrase}, (phrase,))
    verb = is_verb_phrase(plain)
    head = _whole_word(plain[place])
    tags = [tag for tag in head.forms if tag.startswith("VB" if verb else "NN")]
    forms = {}
    for tag in tags or ["NN"]:
        words[2 * place] = head.forms.get(tag, plain[place])
        forms[tag] = "".join(words)
    if not verb:
        forms["NN"] = phrase
    words[2 * place] = plain[place]
    lemma = forms.get("VB", phrase) if verb else phrase
    return Paradigm(lemma, forms, tuple(dict.fromkeys([lemma, phrase, *forms.values()])))


def _whole_word(word: str) -> Paradigm:
    try:
        return inflections(word.lower())
    except ValueError:  # a form of several words stays as it is
        return Paradigm(word, {"NN": word}, (word,))


def _head(words: Sequence[str]) -> int:
    if is_verb_phrase(words):
        return 0
    inside = [place for place, word in enumerate(words) if word in INSIDE]
    return inside[0] - 1 if inside and inside[0] else len(words) - 1


def is_verb_phrase(words: Sequence[str]) -> bool:
    """Whether the first word is a verb: give up, take care of."""
    if len(words) < 2:
        return False
    head = _whole_word(words[0]).lemma
    if words[1] != words[1].lower() and words[0] == words[0].lower():
        return head in WITH_NAMES and "VERB" in _whole_word(words[0]).parts_of_speech
    known = head in VERBS and "VERB" in _whole_word(words[0]).parts_of_speech
    return known and (words[1] in PARTICLES or not PARTICLES.union(["of"]).isdisjoint(words[2:]))


def taken_apart(paradigm: Paradigm) -> str:
    """A pattern of a verb and its particle with a pronoun between them (*gave it up*); empty of other phrases."""
    words = paradigm.lemma.split()
    if len(words) != 2 or not is_verb_phrase(words):
        return ""
    heads = "|".join(re.escape(form.split()[0]) for form in paradigm.spellings)
    return rf"(?i:(?:{heads})\s+(?:{'|'.join(OBJECTS.split())})\s+{re.escape(words[1])})"
