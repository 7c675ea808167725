"""Stand-ins for ordinary phrases in the control: of a verb with what goes with it, of a noun, of a time or a place.

A capital in such a phrase stays one, and what has it is of the same kind: *speak French* is replaced by *learn
English*, *Sunday morning* by *Monday evening*, *in Boston* by *in London*.
"""

import calendar
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Literal

import regex

from excise.data.topics.corpus import Corpus
from excise.data.topics.frequencies import zipf
from excise.data.topics.grammar import FUNCTION_WORDS
from excise.data.topics.lemmas import lemmas_of
from excise.data.topics.names import is_first_name, people, place_names
from excise.data.topics.phrases import INSIDE, PARTICLES, VERBS, WITH_NAMES, is_verb_phrase

PhraseKind = Literal["noun", "verb", "activity", "time", "adverb", "comment", "preposition", "conjunction"]

MONTHS = tuple(filter(None, calendar.month_name))
DAYS = tuple(calendar.day_name)
PEOPLES = (
    "English French German Spanish Italian Dutch Russian Chinese Japanese Polish Greek Turkish Arabic Danish "
    "Swedish Irish Finnish Korean Portuguese Hungarian"
).split()
OTHER_PEOPLES = "American Canadian British European African Asian Australian Indian Mexican Brazilian Swiss".split()
HOLIDAYS = "Christmas Easter Halloween Thanksgiving Ramadan Hanukkah".split()
CAPITALS = (MONTHS, DAYS, (*PEOPLES, *OTHER_PEOPLES), HOLIDAYS)
TIMES = frozenset(
    "second minute hour day night morning noon afternoon evening week weekend month year decade century spring summer "
    "autumn fall winter time moment now today tonight yesterday tomorrow".split()
)
OF_TIMES = frozenset("last next this every each".split())
CONJUNCTIONS = frozenset("as that if though than".split())
PREPOSITIONS = frozenset("in at on by for from of to with without after before during about under into over".split())
DETERMINERS = frozenset("another same other such own few more less several whole".split())
# Zipf scale: above this a word is grammar (some, this).
MOST_FREQUENT = 5.9
POOL_SIZE, ENOUGH, MIN_COUNT, MOST_PAIRS = 24, 3, 3, 20_000
LISTS: dict[str, tuple[str, ...]] = {
    kind: tuple(phrases.split("|"))
    for kind, phrases in {
        "noun": "ice cream|high school|police station|phone number|train station|post office|living room|bus stop|"
        "driving licence|orange juice|washing machine|swimming pool|credit card|coffee shop|alarm clock|"
        "science fiction|cup of coffee|glass of water|piece of paper|point of view|public high school|"
        "small coffee shop",
        "verb": "go away|come back|wake up|sit down|stand up|turn off|pick up|look after|put on|take off|find out|"
        "carry on|calm down|work out|look forward to|get along with|take care of|catch up with|pay attention to|"
        "come up with",
        "activity": "come to work|stay in bed|wait at home|drive to work|walk to church|sit at home|run to town|"
        "live by yourself|eat with friends|sleep on trains",
        "time": "last night|last week|last month|last year|next week|next month|next year|every day|every week|"
        "this morning|this evening|right now|at night|at noon|all day|one day|some day|at once|in summer|"
        "all the time|the other day|in the morning|in the evening|at the moment",
        "adverb": "at home|at work|at school|in town|in bed|on foot|by bus|by chance|by mistake|on purpose|in public|"
        "for free|in a hurry|on the way|at the door|in the garden|on the table",
        "comment": "of course|in fact|for example|after all|at last|in general|at least|for sure|no doubt|in short|"
        "as usual|by the way|on the contrary|in the end|to be sure",
        "preposition": "in front of|on top of|in spite of|instead of|because of|next to|close to|due to|out of|"
        "ahead of|by means of|in need of",
        "conjunction": "as soon as|as long as|as far as|as often as|even if|even though|as if|so that|in case|now that|"
        "as though|only if",
    }.items()
}  # fmt: skip


def phrase_kind(phrase: str) -> PhraseKind:
    """What an ordinary phrase does in a sentence.

    >>> [phrase_kind(phrase) for phrase in ("give up", "hot dog", "last week", "at home", "as soon as", "in Boston")]
    ['verb', 'noun', 'time', 'adverb', 'conjunction', 'adverb']
    """
    words = phrase.split()
    listed: tuple[PhraseKind, ...] = ("comment", "preposition", "conjunction", "time")
    if own := next((kind for kind in listed if phrase in LISTS[kind]), None):
        return own
    if is_verb_phrase(words):
        return "verb" if len(words) < 3 or words[-1] in PARTICLES | PREPOSITIONS else "activity"
    if words[-1] in CONJUNCTIONS or words[-1] in PREPOSITIONS:
        return "conjunction" if words[-1] in CONJUNCTIONS else "preposition"
    if words[-1] in TIMES and (words[0] in OF_TIMES | PREPOSITIONS):
        return "time"
    return "adverb" if words[0] in PREPOSITIONS or phrase in LISTS["adverb"] else "noun"


def capital_kind(word: str) -> str:
    """What a word with a capital is a name of, as far as lists tell: days with days, places with places."""
    place = next((str(number) for number, words in enumerate(CAPITALS) if word in words), "")
    return place or ("person" if is_first_name(word) else "place" if word in place_names() else "other")


def of_data(phrase: str, texts: Sequence[str], corpus: Corpus | None = None) -> list[str]:
    """Phrases of two words in the data that can stand where another stands, likeliest first.

    Args:
        phrase: of two words; of others the data gives none.
        texts: the data.
        corpus: the words of the data: nouns like its own come first.
    """
    words = phrase.split()
    if len(words) != 2 or not all(map(str.isalpha, words)):
        return []
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        pairs.update(
            (a, b) for a, b in pairwise(regex.findall(r"\p{L}+|[^\p{L}\s]", text)) if len(a) > 1 and len(b) > 1
        )
    kind = phrase_kind(phrase)
    often = (pair for pair, count in pairs.most_common(MOST_PAIRS) if count >= MIN_COUNT)
    fitting = islice((pair for pair in often if _fits(pair, (words[0], words[1]), kind)), 4 * POOL_SIZE)
    found = list(fitting)
    if kind == "noun" and corpus is not None and found:
        alike = corpus.frame_similarity([words[1]], [[pair[1]] for pair in found])
        found = [found[place] for place in sorted(range(len(found)), key=lambda place: -alike[place])]
    return [" ".join(pair) for pair in found][:POOL_SIZE]


def _fits(pair: tuple[str, str], own: tuple[str, str], kind: PhraseKind) -> bool:
    for word, ours in zip(pair, own, strict=True):
        capital = ours != ours.lower()
        if capital != (word != word.lower()) or (capital and capital_kind(word) != capital_kind(ours)):
            return False
    first, second = pair
    if kind == "verb":
        if own[1] != own[1].lower():
            return first in VERBS | WITH_NAMES and first not in ("be", own[0]) and second != own[1]
        return first in VERBS - {"be"} and second in {"up", "down", "off", "out", "on", "away", "back", "over"}
    if kind == "time":
        alike = (first in PREPOSITIONS) == (own[0] in PREPOSITIONS) and (second == "now") == (own[1] == "now")
        return alike and first in OF_TIMES | PREPOSITIONS and second in TIMES and pair != own
    if kind == "adverb":
        return first == own[0] and second not in TIMES and (second != second.lower() or _is_noun_alone(second))
    if kind != "noun":
        return False
    if first != first.lower():
        return (
            first != own[0] and second != own[1] and _is_noun_alone(second) and (second in TIMES) == (own[1] in TIMES)
        )
    return _is_noun(first, second)


def _is_noun_alone(word: str) -> bool:
    return word not in FUNCTION_WORDS and any("NN" in tags for tags in lemmas_of(word).values())


def _is_noun(first: str, second: str) -> bool:
    from lemminflect import getAllInflections, getAllLemmas

    if zipf(first, "en") > MOST_FREQUENT or first in DETERMINERS | FUNCTION_WORDS:
        return False
    if second in PARTICLES | INSIDE or first in PARTICLES | INSIDE or first in VERBS:
        return False
    nouns = getAllLemmas(second)
    before = getAllLemmas(first)
    return (
        set(nouns) == {"NOUN"}
        and "NNS" in getAllInflections(second)
        and second in nouns["NOUN"]
        and set(before) in ({"NOUN"}, {"ADJ"}, {"ADJ", "NOUN"})
    )


def of_lists(phrase: str) -> Iterator[str]:
    """Phrases of lists: of the same kind, number of words and capitals."""
    words, kind = phrase.split(), phrase_kind(phrase)
    yield from _with_capital(words, kind)
    for other in LISTS[kind] if phrase == phrase.lower() else ():
        same = kind != "time" or (other.split()[0] in OF_TIMES) == (words[0] in OF_TIMES)
        if same and len(other.split()) == len(words):
            yield other


def _with_capital(words: Sequence[str], kind: PhraseKind) -> Iterator[str]:
    """Others with a capital at the same place, where the kind of the word that has it is known."""
    if len(words) == 2 and words[0].endswith("'s") and is_first_name(words[0][:-2]):  # Tom's house
        names = people("woman" if words[0][:-2] in people("woman") else "man")[:POOL_SIZE]
        nouns = [noun for noun in "room garden car book story".split() if noun != words[1]]
        yield from (f"{name}'s {nouns[turn % len(nouns)]}" for turn, name in enumerate(names))
        return
    place = next((place for place, word in enumerate(words) if word != word.lower()), None)
    if place is None or len(words) != 2:
        return
    listed: list[Sequence[str]] = [own for own in CAPITALS if words[place] in own]
    named = capital_kind(words[place])
    if named == "place":
        listed = [sorted(filter(str.isalpha, place_names()), key=lambda name: -place_names()[name])[:POOL_SIZE]]
    elif named == "person":
        listed = [people("woman" if words[place] in people("woman") else "man")[:POOL_SIZE]]
    capitals = [word for word in listed[0] if word != words[place]] if listed else []
    if kind == "verb":
        small = [word for word in ("learn", "study", "teach", "understand", "know") if word != words[0]]
    elif kind == "noun" and place == 0:
        small = "evening afternoon night".split() if words[1] in TIMES else "friend song book car doctor".split()
        small = [word for word in small if word != words[1]]
    else:
        small = [words[1 - place]]
    for turn, capital in enumerate(capitals):
        other = small[turn % len(small)]
        yield f"{capital} {other}" if place == 0 else f"{other} {capital}"
