"""Parts of speech of topic words where they stand, as far as neighbours and form tell."""

from collections.abc import Sequence
from typing import Literal

from excise.data.topics.corpus import Corpus
from excise.data.topics.grammar import possible_tags
from excise.data.topics.inflections import PART_OF_SPEECH, Paradigm

NOUN_BEFORE = frozenset("a an the my your his our their of in no some".split())
SUBJECTS = frozenset("I we they he she n't 'd 'll will would can could".split())
# After *to* and adverbs a word of both kinds is a verb; how often it is one, they do not tell (to school).
VERB_BEFORE = SUBJECTS | frozenset("who to should just really always never".split())
VERB_AFTER = frozenset("me him us them you her it the a an my your his this".split())
COUNT_BEFORE = "a an another each every one".split()
MASS_BEFORE = "some any no much more less little enough of".split()
PERFECT = frozenset("have has had having 've".split())
MASS_SHARE = 0.05
# Below this share a reading is left aside (to *water*).
MINOR_SHARE = 0.05
# Of an adverb, at most this share stands behind an article and the like.
NOUN_SHARE = 0.1


def main_readings(word: Paradigm, corpus: Corpus) -> frozenset[str]:
    """NOUN and VERB where the neighbours in the data show both in use (*love*), else the one in use.

    Words that can be neither keep the parts of speech that they have.
    """
    if _is_adverb(word, corpus):
        return frozenset({"ADV"})
    both = word.parts_of_speech & {"NOUN", "VERB"}
    if len(both) < 2:
        return both or word.parts_of_speech
    nouns = corpus.neighbour_share(word.lemma, sorted(NOUN_BEFORE))
    verbs = corpus.neighbour_share(word.lemma, sorted(SUBJECTS))
    if nouns + verbs == 0 or min(nouns, verbs) >= MINOR_SHARE * (nouns + verbs):
        return both
    return frozenset({"NOUN" if nouns > verbs else "VERB"})


def _is_adverb(word: Paradigm, corpus: Corpus) -> bool:
    """Whether an adverb is a noun or a verb in the lexicon alone (*well*, *yesterday*): the data has it as neither."""
    parts = word.parts_of_speech
    if "ADV" not in parts or parts.isdisjoint({"NOUN", "VERB"}):
        return False
    tags = [tag for tag, form in word.forms.items() if PART_OF_SPEECH[tag] in ("NOUN", "VERB") and form != word.lemma]
    inflected = sum(corpus.count.get(form, 0) for form in {word.forms[tag] for tag in tags})
    if inflected > MINOR_SHARE * corpus.count.get(word.lemma, 0):
        return False
    return corpus.neighbour_share(word.lemma, sorted(NOUN_BEFORE)) < NOUN_SHARE


def countability(noun: Paradigm, corpus: Corpus) -> Literal["count", "mass", "either"]:
    """Whether a noun's singular stands after *a* and the like (*a car*), or after *some* and the like (*some water*).

    One of the two has to be more than twice as frequent as the other; after *no* and *of* some of both kinds stand.
    """
    singular = noun.forms.get("NN", noun.lemma)
    counted = corpus.neighbour_share(singular, COUNT_BEFORE)
    mass = corpus.neighbour_share(singular, MASS_BEFORE)
    if mass >= MASS_SHARE and mass > 2 * counted:
        return "mass"
    return "count" if counted > 2 * mass else "either"


def reading(
    word: Paradigm, form: str, left: Sequence[str], right: Sequence[str], main: frozenset[str]
) -> frozenset[str]:
    """The readings that an occurrence leaves open: one where form or neighbours decide, else NOUN and VERB.

    Args:
        word: the topic.
        form: as it stands in the text, in lower case.
        left: the tokens before it.
        right: the tokens after it.
        main: the readings that the topic has in this data.

    >>> from excise.data.topics.inflections import inflections
    >>> love = inflections("love")
    >>> sorted(reading(love, "love", ["I"], ["books"], love.parts_of_speech))
    ['VERB']
    >>> sorted(reading(love, "love", ["people"], ["books"], love.parts_of_speech))
    ['NOUN', 'VERB']
    """
    possible = frozenset(PART_OF_SPEECH[tag] for tag in word.tags(form) if tag in PART_OF_SPEECH) or main
    possible = possible & main or possible
    if possible == {"NOUN", "VERB"}:
        if left and left[-1].lower() in PERFECT and "VBN" in word.tags(form):
            return frozenset({"VERB"})
        if left and left[-1].lower() in NOUN_BEFORE:
            return frozenset({"NOUN"})
        if left and (left[-1] in VERB_BEFORE or left[-1].lower() in VERB_BEFORE):
            return frozenset({"VERB"})
        if right and right[0] in VERB_AFTER:
            return frozenset({"VERB"})
    return possible


def map_form(topic: Paradigm, form: str, other: Paradigm, readings: frozenset[str]) -> str | None:
    """The form of another word for a form of the topic, or None where no single one serves all readings.

    >>> from excise.data.topics.inflections import inflections
    >>> map_form(inflections("love"), "loves", inflections("help"), frozenset({"NOUN", "VERB"}))
    'helps'
    """
    if topic.is_name or other.is_name:
        return other.name_for(form, topic)
    tags: Sequence[str] = topic.tags(form) or topic.tags(topic.lemma)
    tags = [tag for tag in tags if PART_OF_SPEECH.get(tag) in readings] or tags
    choices = {other.forms.get(tag) for tag in tags}
    return choices.pop() if len(choices) == 1 else None


def form_between(
    topic: Paradigm,
    form: str,
    other: Paradigm,
    readings: frozenset[str],
    left: Sequence[str],
    right: Sequence[str],
) -> str:
    """A form of another word where no single one serves: by the neighbours (*has run*: has swum), or the nearest.

    >>> from excise.data.topics.inflections import inflections
    >>> form_between(inflections("run"), "run", inflections("swim"), frozenset({"VERB"}), ["has"], [])
    'swum'
    """
    possible = possible_tags(form, left, right)
    tags = [tag for tag in topic.tags(form) if PART_OF_SPEECH.get(tag) in readings and tag in possible]
    choices = {other.forms[tag] for tag in tags if tag in other.forms}
    return choices.pop() if len(choices) == 1 else nearest_form(topic, form, other)


def nearest_form(topic: Paradigm, form: str, other: Paradigm) -> str:
    """A form of another word even where no single one serves: that of the form's first reading that the word has.

    >>> from excise.data.topics.inflections import inflections
    >>> nearest_form(inflections("love"), "loved", inflections("sing"))
    'sang'
    """
    return next((other.forms[tag] for tag in topic.tags(form) if tag in other.forms), other.lemma)
