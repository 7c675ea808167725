"""Grammar of an occurrence: the Penn Treebank tags that its neighbours leave it."""

from collections.abc import Sequence

NOUNS = frozenset({"NN", "NNS"})
ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})
VERBS = frozenset({"VB", "VBP", "VBZ", "VBD", "VBN", "VBG"})
ADVERBS = frozenset({"RB", "RBR", "RBS"})
EVERYTHING = NOUNS | ADJECTIVES | VERBS | ADVERBS
# What stands between a verb and what decides it.
SKIPPED = frozenset("just never always already also really still ever often not n't soon even only".split())

BEFORE: dict[str, frozenset[str]] = {}
for words, tags in (
    (
        "a an the my your his our their its whose this these those some no every each many several few",
        NOUNS | ADJECTIVES,
    ),
    ("of", NOUNS | ADJECTIVES | {"VBG"}),
    ("very too quite so", ADJECTIVES | ADVERBS),
    ("to", frozenset({"VB", "NN", "NNS"})),
    ("will would can could should must may might shall 'll do does did please let's", frozenset({"VB"})),
    ("have has had 've having", frozenset({"VBN", "NN", "NNS"})),
    ("is are was were be been being am 're 'm", frozenset({"VBN", "VBG", "JJ", "RB", "NNS"})),
    ("'s", NOUNS | ADJECTIVES | {"VBN", "VBG"}),
    ("he she it", frozenset({"VBD", "VBZ"})),
    ("who everyone everybody someone somebody anyone anybody nobody", frozenset({"VBD", "VBZ", "VBN"})),
    ("i we they", frozenset({"VBD", "VBP"})),
    ("in on at from with without under into", NOUNS | ADJECTIVES | {"VBG"}),
):
    BEFORE.update(dict.fromkeys(words.split(), tags))
OBJECTS = frozenset("me him us them".split())
# Words that no list of nouns, verbs, adjectives and adverbs has.
FUNCTION_WORDS = frozenset(
    "a about above across after against all along although am among an and any are as at be because been before behind "
    "below beneath beside between beyond but by can could despite did do does down during each either else every few "
    "for from had has have he her hers herself him himself his how i if in inside into is it its itself just like many "
    "may me might mine more most much must my myself near neither no none nor not of off on once onto or other our "
    "ours out over past per she should since so some such than that the their theirs them then these they this those "
    "though through till to toward towards under unless until up upon us via was we were what whatever when where "
    "whether which while who whom whose why will with within without would yet you your yours".split()
)


def possible_tags(form: str, left: Sequence[str], right: Sequence[str]) -> frozenset[str]:
    """The tags that an occurrence can have, by the word before it and an object behind it; all where these say nothing.

    Args:
        form: as it stands in the text.
        left: the tokens before it.
        right: the tokens after it.

    >>> sorted(possible_tags("saw", ["Tom"], ["me"])), sorted(possible_tags("saw", ["the"], []))
    (['VBD', 'VBZ'], ['JJ', 'JJR', 'JJS', 'NN', 'NNS'])
    """
    before = list(left)
    while before and before[-1].lower() in SKIPPED:
        before.pop()
    word = before[-1].replace("\u2019", "'") if before else ""
    if word.lower() in BEFORE:
        tags = BEFORE[word.lower()]
    elif len(word) > 1 and word[0].isupper() and word[1:].islower() and _is_name(before):
        tags = frozenset({"VBD", "VBZ"})  # Tom found it
    else:
        tags = EVERYTHING
    if form.lower() == "mine" and word.lower() in ("of", "is", "are", "was", "were", "be"):
        return frozenset()  # a friend of mine
    if right and right[0] in OBJECTS and not tags.isdisjoint(VERBS):
        tags &= VERBS
    return tags


def _is_name(before: Sequence[str]) -> bool:
    """Whether a capitalised word is one for another reason than that a sentence starts, or is a name all the same."""
    from excise.data.topics.names import is_first_name

    return is_first_name(before[-1]) or (len(before) > 1 and before[-2].isalpha())
