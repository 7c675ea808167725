"""Cache of a data set's sentences: what of them depends on no word, worked out once."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from datasets import Dataset

from excise.data.columns import arrow_column, values_at
from excise.data.reading import as_rows, refuse_stream
from excise.data.scripts import check_split, script_without_spaces
from excise.data.topics.association import WordTable
from excise.data.topics.corpus import Corpus
from excise.data.topics.matching import hiding_sign, normalise
from excise.data.words import caseless, evened, runs
from excise.storage.display import warn

# Without an evaluation set of its own, this share of the source texts is held out, by a hash of each text.
HELDOUT_SHARE = 0.3
# Sentences that the replacement statistics learn from; more would not change the words found.
MAX_CORPUS = 200_000
# Data sets of each kind that stay in memory, at most.
MOST_KEPT = 2


class Sentences:
    """The usable texts of a data set, each once and first come first kept, with their references.

    What is asked for is worked out when it is needed first, and stays: half a kilobyte a text, 48 MB for the 100,035
    texts of 142,444 pairs with their references. Texts themselves stay with the data set, or are a copy of the rows
    chosen with `select` or `shuffle`.

    Args:
        dataset: with at least one usable row.
        text: the source column, or a key of a translation column.
        reference: likewise for the references, if there are any.
        what: the data set's name in messages.

    Attributes:
        keys: the normalised texts, and the row of each.
        gaps: how many rows have no text, or no reference where there are any, as counts to show; empty where all have.

    Raises:
        ValueError: no row is usable, there is no such column, or the source sets no spaces between words.
        MissingExtraError: the references do not, and the extra `scripts` is not installed.
    """

    def __init__(self, dataset: Dataset, text: str, reference: str | None, what: str) -> None:
        # In Arrow, which takes no memory of its own for a data set on disk.
        self._sources = arrow_column(dataset, text)
        if not len(self._sources):
            raise ValueError(f"The {what} is empty; it needs rows with a text in {text!r}.")
        self._references = arrow_column(dataset, reference) if reference is not None else None
        sources = self._sources.to_pylist()
        references = self._references.to_pylist() if self._references is not None else ["-"] * len(sources)
        self.keys: dict[str, int] = {}
        gaps = 0
        for row, (source, target) in enumerate(zip(sources, references, strict=True)):
            usable = isinstance(source, str) and isinstance(target, str) and target.strip()
            if usable and (key := normalise(source)):
                self.keys.setdefault(key, row)
            else:
                gaps += 1
        self.gaps = {"rows left out (without a text)": gaps} if gaps else {}
        if not self.keys:
            raise ValueError(f"None of the {len(sources)} rows of the {what} has a text in {text!r}.")
        _warn_of_hidden_words([sources[row] for row in self.keys.values()], text)
        script = script_without_spaces(source for source in sources if isinstance(source, str))
        if script is not None:
            raise ValueError(
                f"The texts in {text!r} are in {script}, without spaces between words: topic sets find words in the "
                "source, and make a control of each text, only where spaces tell words. Name another column with "
                "text=, or put a space between words in the data that the model is trained on and asked with."
            )
        if reference is not None:
            check_split((text for text in references if isinstance(text, str)), purpose="topic_sets")
        self._rows = np.fromiter(self.keys.values(), dtype=np.int64, count=len(self.keys))

    def __len__(self) -> int:
        return len(self._rows)

    def texts(self, places: np.ndarray | slice) -> list[str]:
        """Source texts by their places among all, int64."""
        return values_at(self._sources, self._rows[places])

    def references(self, places: np.ndarray | slice) -> list[str | None]:
        """Their references; None of each if there are none."""
        rows = self._rows[places]
        return values_at(self._references, rows) if self._references is not None else [None] * len(rows)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Which texts are held out where nobody gives others to evaluate on, bool (num_texts,)."""
        hashes = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") for key in self.keys]
        return np.array(hashes) / 2**32 < HELDOUT_SHARE

    @cached_property
    def selecting(self) -> "Sentences":
        """Those that are not held out, by themselves: what may take part in choosing anything."""
        part = object.__new__(Sentences)
        part._sources, part._references, part._rows = self._sources, self._references, self._rows[~self.held_out]
        held = self.held_out.tolist()
        part.keys = {key: row for (key, row), out in zip(self.keys.items(), held, strict=True) if not out}
        return part

    @cached_property
    def corpus(self) -> Corpus:
        """The words of the first texts, and their company."""
        return Corpus(self.texts(slice(MAX_CORPUS)))

    @cached_property
    def words(self) -> frozenset[str]:
        """All words of all texts, evened out (`excise.data.words`), as they are spelled there."""
        return frozenset(runs(evened("\n".join(self.texts(slice(None))))))

    @cached_property
    def reference_words(self) -> WordTable:
        """The words of the references of the same texts."""
        return WordTable(self.references(slice(MAX_CORPUS)))

    @cached_property
    def _letters(self) -> tuple[bytes, np.ndarray]:
        """All texts without case as one, and where each begins."""
        lines = [caseless(text).encode() + b"\n" for text in self.texts(slice(None))]
        return b"".join(lines), np.cumsum([0, *map(len, lines)])

    def with_letters(self, letters: str) -> np.ndarray:
        """The places of the texts that hold these letters, in any case (`caseless`); int64, ascending."""
        whole, starts = self._letters
        own = caseless(letters).encode()
        hits, at = [], whole.find(own)
        while at >= 0:
            hits.append(at)
            at = whole.find(own, at + len(own))
        return np.unique(np.searchsorted(starts, hits, side="right") - 1)

    def candidates(self, spellings: Iterable[str]) -> np.ndarray:
        """The places of all texts in which a search for any spelling, in any case, may find one; int64, ascending."""
        return np.unique(np.concatenate([*map(self.with_letters, spellings)]))


def _warn_of_hidden_words(texts: Sequence[str], column: str) -> None:
    signs = [sign for sign in map(hiding_sign, texts) if sign]
    if signs:
        warn(
            f"{len(signs)} of {len(texts)} texts in {column!r} hold signs such as {signs[0]!r}, as HTML writes them: a "
            "word with such a sign in it is not found, and its row counts as one without the topic. Put letters in "
            "their place first: `html.unescape(text).replace('\\u200b', '')`."
        )


KEPT: dict[str, WeakKeyDictionary[Dataset, tuple[tuple[str | None, ...], Sentences]]] = {}
LOCK = Lock()


def kept_sentences(dataset: Dataset, text: str, reference: str | None, what: str) -> Sentences:
    """The sentences of a data set, those of the last time if it is the same one, unchanged.

    They go when the data set goes, or when two others of its kind came after it.

    Args:
        dataset: as in `Sentences`, and so are the others.
        text: likewise.
        reference: likewise.
        what: likewise; data sets of different kinds do not displace one another.
    """
    refuse_stream(dataset)
    dataset = as_rows(dataset, what)
    about = (dataset._fingerprint, text, reference)
    with LOCK:
        kept = KEPT.setdefault(what, WeakKeyDictionary())
        known, sentences = kept.pop(dataset, (None, None))
        if sentences is not None and known == about:
            kept[dataset] = about, sentences  # the latest again
            return sentences
    sentences = Sentences(dataset, text, reference, what)
    with LOCK:
        kept[dataset] = about, sentences
        for oldest in list(kept)[:-MOST_KEPT]:
            kept.pop(oldest, None)
    return sentences
