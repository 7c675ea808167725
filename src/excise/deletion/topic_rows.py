"""Embedding rows that belong to a topic: by an exact test, an effect floor and a budget, on both sides of pairs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.data.classes import ClassSets
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Processor, tokenizer_of
from excise.data.questions import QuestionSets
from excise.data.topics import TopicSets, topic_words
from excise.data.words import caseless
from excise.data.words import words as words_of
from excise.ledger.embeddings import vocabulary_tables
from excise.statistics import benjamini_hochberg, fisher
from excise.storage.display import HtmlTable, few, pandas_module
from excise.storage.expected import expects

# What a piece that stays lets be learnt again outweighs its few other uses, which the budget bounds (docs/proof.md).
MIN_OWN = 0.4
# Pieces of a single letter or sign are everyone's.
LETTERS = 2


class Piece(NamedTuple):
    """A piece of the vocabulary that the topic's words are made of.

    Attributes:
        token: its number.
        piece: as the tokenizer writes it.
        with_topic: share of the topic's rows that it is in, on either side.
        without: share of the other rows.
        own: share of the rows with it that are the topic's, of the whole corpus as far as that is known.
        qvalue: of Fisher's exact test, after Benjamini-Hochberg over all pieces that were looked at.
        kept_for: why its row stays; "" of a row that goes.
    """

    token: int
    piece: str
    with_topic: float
    without: float
    own: float
    qvalue: float
    kept_for: str


@dataclass(frozen=True, repr=False)
class RowChoice(HtmlTable):
    """The embedding rows that go with a topic, and what that costs others.

    Attributes:
        rows: by the name of the embedding table, numbers of tokens; of every table that reads or writes them.
        pieces: all that was looked at, those that go and those that stay.
        collateral: rows of the retain set that use a piece that goes, in another sense or in another word: their
            number in the set, and the piece. What becomes of these is the cost.
        thresholds: how they were chosen.
    """

    rows: Mapping[str, tuple[int, ...]]
    pieces: tuple[Piece, ...]
    collateral: tuple[tuple[int, str], ...] = ()
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len([piece for piece in self.pieces if not piece.kept_for])

    def __repr__(self) -> str:
        gone = [piece.piece for piece in self.pieces if not piece.kept_for]
        what = f"{len(gone)} of {len(self.pieces)} pieces go ({few(gone, 6)})" if gone else "no row belongs to it alone"
        return f"RowChoice: {what}; {len({row for row, _ in self.collateral})} other sentences use them"

    @property
    def reason(self) -> str:
        """Why no row goes, in a sentence."""
        if not self.pieces:
            return "No piece of the vocabulary stands where the topic's words do."
        kept = few([f"{piece.piece!r} is {piece.kept_for}" for piece in self.pieces])
        return f"No embedding row belongs to the topic alone: {kept}."

    def to_pandas(self) -> Any:
        """A row a piece."""
        return pandas_module().DataFrame(self.pieces)


@expects("model", "processor", topic="sets")
def choose_rows(
    model: PreTrainedModel,
    processor: Processor,
    topic: ForgetSets,
    *,
    words: Iterable[str] | None = None,
    qvalue: float = 0.05,
    min_share: float = 0.01,
    min_own: float = MIN_OWN,
    budget: float = 0.005,
) -> RowChoice:
    """The embedding rows of pieces that belong to a topic: what a plain model would read and write its words by.

    Looked at are the pieces that the topic's words are made of: in the sources at the spans of the target, in the
    references where a word that goes with the topic stands; of questions, the names; of a class in CLIP, the
    class's name in the texts. A piece goes if Fisher's exact test finds it oftener with the topic than without, it
    is in enough of the topic's rows, enough of the rows that it is in are the topic's, and all pieces that go
    together are in few enough other rows; those that are most the topic's own go first. Special tokens stay.

    Args:
        model: the model; its tables are named, and left as they are.
        processor: its tokenizer, or a processor of both.
        topic: sets of `topic_sets`; of `question_sets` with names; or of `class_sets`, for a CLIP.
        words: the topic's words in the references; found on target and retain if not given.
        qvalue: the largest q-value of the test.
        min_share: the least share of the topic's rows that a piece must be in, on its side.
        min_own: the least share of a piece's rows that must be the topic's.
        budget: the largest share of retain rows that may use a piece that goes.

    Returns:
        The choice. It is empty where the topic's pieces are all shared: its table tells why each stays.

    Raises:
        ValueError: if the model reads no text, the tokenizer cannot tell where pieces stand, or a threshold is out of
            range.
    """
    for name, value in {"qvalue": qvalue, "min_share": min_share, "min_own": min_own, "budget": budget}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; expected a share, from 0 to 1.")
    tables = vocabulary_tables(model)
    if not tables:
        raise ValueError(f"A {type(model).__name__} has no embedding rows: it reads no text. Delete its codes alone.")
    tokenizer = tokenizer_of(processor)
    thresholds = {"qvalue": qvalue, "min_share": min_share, "min_own": min_own, "budget": budget}
    if isinstance(topic, ClassSets):
        pieces = _of_class(tokenizer, topic)
        return _choice(tables, pieces, (), thresholds)
    if not isinstance(topic, TopicSets | QuestionSets):
        raise ValueError(f"The topic is a {type(topic).__name__}; expected sets of `topic_sets` or `class_sets`.")
    if isinstance(topic, QuestionSets) and not topic.names:
        raise ValueError("Questions without names have no words whose rows could go. Give `question_sets` the names.")
    sides = _Sides(tokenizer, topic, words)
    pieces = sides.judged(qvalue, min_share, min_own, budget)
    gone = {piece.token: piece.piece for piece in pieces if not piece.kept_for}
    collateral = tuple(
        (row, gone[token]) for row, held in enumerate(sides.retain) for token in sorted(held & gone.keys())
    )
    return _choice(tables, pieces, collateral, thresholds)


def _choice(
    tables: Mapping[str, Any], pieces: Sequence[Piece], collateral: tuple, thresholds: Mapping[str, Any]
) -> RowChoice:
    size = min(map(len, tables.values()))
    pieces = [p if p.token < size else p._replace(kept_for="not in the model's table") for p in pieces]
    tokens = tuple(sorted(piece.token for piece in pieces if not piece.kept_for))
    rows = dict.fromkeys(tables, tokens) if tokens else {}
    return RowChoice(rows, tuple(pieces), collateral, dict(thresholds))


class _Sides:
    """Which rows hold which pieces, sources and references taken together, and which pieces are the topic's words'."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, topic: TopicSets | QuestionSets, words: Iterable[str] | None
    ):
        self.tokenizer, self.topic = tokenizer, topic
        # Questions have their answers in one text with them.
        self.reference = topic.reference if isinstance(topic, TopicSets) else None
        self.target, self.retain = (self._held(rows) for rows in (topic.target, topic.retain))
        self.candidates: dict[int, str] = {}
        own = [[tuple(span) for span in spans] for spans in topic.target["spans"]]
        self._look(list(topic.target["text"]), own)
        if isinstance(topic, TopicSets) and self.reference is not None:
            found = topic_words(topic) if words is None else words
            wanted = {caseless(part.text) for word in found for part in words_of(word)}
            references = [text or "" for text in topic.target["reference"]]
            places = [[(w.start, w.end) for w in words_of(text) if caseless(w.text) in wanted] for text in references]
            self._look(references, places)

    def _held(self, rows: Dataset) -> list[set[int]]:
        """The pieces of each row."""
        columns = ["text"] + (["reference"] if self.reference is not None else [])
        held: list[set[int]] = [set() for _ in range(len(rows))]
        for column in columns if held else ():
            texts = [text or "" for text in rows[column]]
            for of_row, ids in zip(held, self.tokenizer(texts)["input_ids"], strict=True):
                of_row.update(ids)
        return held

    def _look(self, texts: Sequence[str], places: Sequence[Sequence[tuple[int, int]]]) -> None:
        """Adds the pieces that stand where a text has the topic's words."""
        if not texts:
            return
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"A {type(self.tokenizer).__name__} cannot tell where pieces stand in a text. Load the fast tokenizer."
            )
        encoded = self.tokenizer(list(texts), return_offsets_mapping=True)
        special = set(self.tokenizer.all_special_ids)
        for text, ids, offsets, spans in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], places, strict=True
        ):
            for token, (start, end) in zip(ids, offsets, strict=True):
                inside = [stop - begin for begin, stop in spans if start < stop and begin < end]
                letters = sum(map(str.isalnum, text[start:end]))
                if inside and token not in special and letters >= min(LETTERS, *inside):
                    self.candidates.setdefault(token, str(self.tokenizer.convert_ids_to_tokens(token)))

    def judged(self, qvalue: float, min_share: float, min_own: float, budget: float) -> list[Piece]:
        """The pieces of the topic's words, the topic's own first, with what keeps those that stay."""
        tokens = list(self.candidates)
        sizes = len(self.target), len(self.retain)
        if not tokens or not all(sizes):  # without others nothing is known of who else uses a piece
            return []
        hits = [
            np.array([sum(token in row for row in rows) for token in tokens]) for rows in (self.target, self.retain)
        ]
        test = fisher(hits[0], sizes[0], hits[1], sizes[1])
        qvalues = benjamini_hochberg(test.pvalue)
        rates = [count / size for count, size in zip(hits, sizes, strict=True)]
        # Of the whole corpus: the topic's rows and the others as many as there are, where the sets tell.
        with_topic = self.topic.counts.get("with the topic", sizes[0])
        others = max(self.topic.counts.get("texts", sum(sizes)) - with_topic, 1)
        own = rates[0] * with_topic / np.maximum(rates[0] * with_topic + rates[1] * others, 1e-12)
        order = np.lexsort((-rates[0], -own))
        used: set[int] = set()
        pieces = []
        for i in order:
            token = tokens[i]
            holding = {row for row, held in enumerate(self.retain) if token in held}
            why = ""
            if qvalues[i] > qvalue or rates[0][i] <= rates[1][i]:
                why = "not surely oftener with the topic"
            elif rates[0][i] < min_share:
                why = "in too few of the topic's rows"
            elif own[i] < min_own:
                why = "mostly used by other words"
            elif len(used | holding) > budget * sizes[1]:
                why = "beyond the budget"
            else:
                used |= holding
            numbers = (float(rates[0][i]), float(rates[1][i]), float(own[i]), float(qvalues[i]))
            pieces.append(Piece(token, self.candidates[token], *numbers, why))
        return pieces


def _of_class(tokenizer: PreTrainedTokenizerBase, topic: ClassSets) -> list[Piece]:
    """The pieces of a class's name; those stay that another class's name has too."""
    special = set(tokenizer.all_special_ids)
    own, others = topic.classes[topic.label], [name for i, name in enumerate(topic.classes) if i != topic.label]

    def held(name: str) -> set[int]:
        return {token for ids in tokenizer([name, f"a {name}"])["input_ids"] for token in ids} - special

    shared = set().union(*map(held, others), held(""))
    articles = set(tokenizer("a")["input_ids"])
    return [
        Piece(
            token,
            str(tokenizer.convert_ids_to_tokens(token)),
            1.0,
            0.0,
            1.0,
            0.0,
            "in another class's name" if token in shared else "",
        )
        for token in sorted(held(own) - articles)
    ]
