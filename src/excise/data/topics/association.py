"""Words that go with a topic on the reference side: *professeur* for *teacher*."""

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import regex
from scipy import sparse

from excise.data.scripts import check_split, has_letters_without_spaces, pieces
from excise.data.topics.frequencies import stop_words
from excise.data.topics.languages import language_of
from excise.data.words import LETTERS, caseless, lowered, runs, words
from excise.statistics import benjamini_hochberg, fisher
from excise.storage.expected import expects

if TYPE_CHECKING:
    from excise.data.topics.sets import TopicSets

# Neither a number tells a topic, nor a letter of an alphabet by itself (the j of j'aimerais).
NUMBER = regex.compile(rf"[^{LETTERS}]+")
ONE_LETTER = regex.compile(r"[\p{L}--[\p{Han}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]", regex.VERSION1)
# Words this many times rarer elsewhere than the floor asks are taken before all others.
SURE = 10


class AssociatedWord(NamedTuple):
    """A word that goes with the topic.

    Attributes:
        word: in lower case.
        share_with: share of the topic's texts that hold it.
        share_without: share of the other texts that hold it.
        covered: topic texts that it covers and no earlier word of the list does.
        pvalue: Fisher's exact test on the texts not yet covered when it was chosen.
        qvalue: the same after Benjamini-Hochberg over all words of that round.
    """

    word: str
    share_with: float
    share_without: float
    covered: int
    pvalue: float
    qvalue: float


class WordTable:
    """The words of each text, in lower case (`excise.data.words`): enough to ask which texts hold a word.

    Args:
        texts: in any order; None for one that is missing.

    Attributes:
        words: of all texts, in order of appearance, but for numbers, which tell no topic.
        held: which text holds which word, int8 (num_texts, num_words), 1 or 0.
        filled: which texts are there and not empty, bool (num_texts,).

    Raises:
        MissingExtraError: the texts are written without spaces, and the extra `scripts` is not installed.
        ValueError: nobody splits their script into words.

    >>> table = WordTable(["J'aimerais, si seulement !", "Si j'aime..."])
    >>> table.words, table.held.toarray().tolist()
    (('j', 'aimerais', 'si', 'seulement', 'aime'), [[1, 1, 1, 1, 0], [1, 0, 1, 0, 1]])
    """

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.filled = np.array([bool(text) for text in texts], dtype=bool)
        # All texts are one, so that one search finds all words; each ends with a line's end, and has none inside.
        check_split(texts, purpose="The search for a topic's words")
        lines = [lowered(text or "").replace("\n", " ") + "\n" for text in texts]
        whole = "".join(lines)
        flat = runs(whole, "\n")
        if has_letters_without_spaces(whole):
            split = {run: [run[start:end] for start, end in pieces(run)] for run in set(flat)}
            flat = [word for run in flat for word in split[run]]
        index = {word: number for number, word in enumerate(dict.fromkeys(["\n", *flat]))}
        ids = np.fromiter(map(index.__getitem__, flat), dtype=np.int32, count=len(flat))
        text = np.cumsum(ids == 0, dtype=np.int32)
        kept = np.array([NUMBER.fullmatch(word) is None for word in index], dtype=bool)
        kept[0] = False
        self.words = tuple(compress(index, kept))
        place = kept[ids]
        ids = np.cumsum(kept, dtype=np.int32)[ids]
        entries = np.ones(np.count_nonzero(place), dtype=np.int8)
        shape = (len(texts), len(self.words))
        self.held = sparse.csr_matrix((entries, (text[place], ids[place] - 1)), shape=shape, dtype=np.int8)
        self.held.data[:] = 1  # a word that a text has twice

    def texts(self, words: Iterable[str]) -> np.ndarray:
        """Which texts hold any of the words, bool (num_texts,)."""
        own = set(words)
        wanted = np.fromiter((word in own for word in self.words), dtype=np.int32, count=len(self.words))
        return np.asarray(self.held @ wanted, dtype=bool)


def associated_words(
    texts_with: Sequence[str],
    texts_without: Sequence[str],
    *,
    q: float = 0.05,
    min_lift: float = 4.0,
    min_share: float = 0.01,
    max_words: int = 25,
    but: Collection[str] = (),
) -> list[AssociatedWord]:
    """The words that tell texts of a topic from others, by a greedy cover with Fisher's exact test.

    In each round the word most associated with the topic texts *not yet covered* is taken, and the texts that hold it
    are covered. So a topic with several renderings gets them all (*aimerais*, *souhaite*, *voudrais* for *wish*), and a
    word that is only in the same sentences (*école* beside *professeur*) is not taken, since it explains nothing more.
    Words that are almost never elsewhere come first, so that a frequent companion (*Tom* beside *Mary*) finds its texts
    covered.

    Args:
        texts_with: texts of the topic (references of the rows with the topic word).
        texts_without: texts of other rows.
        q: largest false discovery rate, over all words of a round.
        min_lift: a word must be this many times as frequent in all topic texts, and in those left, as in the others.
        min_share: a word must cover this share of all topic texts anew, and at least three.
        max_words: the longest list.
        but: words that are not taken, such as the stop words of a language.

    Returns:
        In the order of choice; empty if nothing passes.

    Raises:
        ValueError: one of the two sides is empty.
    """
    if not texts_with or not texts_without:
        raise ValueError(
            f"Associated words need texts on both sides; there are {len(texts_with)} with the topic "
            f"and {len(texts_without)} without."
        )
    table = WordTable([*texts_with, *texts_without])
    topic = np.arange(len(table.filled)) < len(texts_with)
    return table_words(table, topic, ~topic, q, min_lift, min_share, max_words, but)


def table_words(
    table: WordTable,
    topic: np.ndarray,
    others: np.ndarray,
    q: float = 0.05,
    min_lift: float = 4.0,
    min_share: float = 0.01,
    max_words: int = 25,
    but: Collection[str] = (),
) -> list[AssociatedWord]:
    """The same as `associated_words`, of texts whose words are in a table.

    Args:
        table: of all texts.
        topic: which of them are the topic's, bool (num_texts,); at least one.
        others: which are held against these, bool (num_texts,); at least one.
        q: as there, and so are the others.
        min_lift: likewise.
        min_share: likewise.
        max_words: likewise.
        but: likewise.
    """
    left = table.held[topic]
    num_with, num_without = left.shape[0], int(np.count_nonzero(others))
    within, without = _counts(left), _counts(table.held[others])
    least = max(3, math.ceil(min_share * num_with))
    own = np.array([not (word in but or ONE_LETTER.fullmatch(word)) for word in table.words], dtype=bool)
    chosen: list[AssociatedWord] = []
    for lift in (SURE * min_lift, min_lift):
        while left.shape[0] and len(chosen) < max_words:
            found = _most_associated(left, table.words, own, without, num_without, lift, least)
            if found is None or found[1].qvalue > q:
                break
            index, entry = found
            share = int(within[index]) / num_with
            left = left[left[:, [index]].toarray()[:, 0] == 0]
            if share >= min_lift * entry.share_without:
                chosen.append(entry._replace(share_with=share))
    return chosen


def _counts(held: sparse.csr_matrix) -> np.ndarray:
    return np.bincount(held.indices, minlength=held.shape[1])


def _most_associated(
    left: sparse.csr_matrix,
    words: Sequence[str],
    own: np.ndarray,
    without: np.ndarray,
    num_without: int,
    min_lift: float,
    least: int,
) -> tuple[int, AssociatedWord] | None:
    counts = _counts(left)
    often = np.flatnonzero(own & (counts >= least) & (counts / left.shape[0] >= min_lift * without / num_without))
    if not len(often):
        return None
    pvalues = fisher(counts[often], left.shape[0], without[often], num_without).pvalue
    # The words below the floors were looked at too: they enter the correction as p = 1, which can only raise q.
    qvalues = benjamini_hochberg(np.concatenate([pvalues, np.ones(np.count_nonzero(counts) - len(often))]))
    best = min(range(len(often)), key=lambda row: (pvalues[row], -counts[often[row]], words[int(often[row])]))
    index = int(often[best])
    share_without = int(without[index]) / num_without
    entry = AssociatedWord(
        words[index], 0.0, share_without, int(counts[index]), float(pvalues[best]), float(qvalues[best])
    )
    return index, entry


@expects("topic")
def topic_words(topic: "TopicSets") -> tuple[str, ...]:
    """The words of the references that go with the topic: what topic recall counts in the outputs.

    A phrase or name of several pieces that the references mostly take over as it is (*New York*) counts as a whole, not
    by its pieces. Stop words of the references' language are taken only where no other word goes with it. Found on the
    selecting sets (target against retain), so that the evaluation sets stay unseen.

    Args:
        topic: made with `reference=`.

    Raises:
        ValueError: the topic has no references.
    """
    if topic.reference is None:
        raise ValueError("This topic has no references; make it with topic_sets(..., reference=<column>).")
    references, others = list(topic.target["reference"]), list(topic.retain["reference"])
    names = _taken_over(topic, references, others)
    if names:
        references = [text for text in references if not topic.matcher.spans(text)]
    stops = stop_words(language_of([*references, *others]) or "en")
    found = associated_words(references, others, but=stops) if references else []
    if references and not found:
        found = associated_words(references, others)
    pieces = {piece.text for name in names for piece in words(caseless(name))}
    return (*names, *(entry.word for entry in found if entry.word not in pieces))


def _taken_over(topic: "TopicSets", references: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """The topic's forms of several pieces that at least half of its references have, and few others."""
    matcher = topic.matcher
    forms = [form for text in references for form in set(matcher.forms_in(text))]
    names = [form for form in dict.fromkeys(forms) if not form.isalpha()]
    have = sum(not set(names).isdisjoint(matcher.forms_in(text)) for text in references) if names else 0
    elsewhere = sum(bool(matcher.spans(text)) for text in others) if names else 0
    often = have >= max(3, len(references) / 2) and have / len(references) >= 4.0 * elsewhere / max(1, len(others))
    return tuple(names) if often else ()
