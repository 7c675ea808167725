"""Erasure of embedding rows alone, with no codes: the baseline to beat."""

import copy
import time
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from excise.baselines.history import BaselineRun, Epoch
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Processor
from excise.deletion.topic_rows import RowChoice, choose_rows
from excise.ledger.embeddings import overwrite_rows, vocabulary_tables
from excise.storage.expected import expects


@dataclass(frozen=True, repr=False)
class RowsErased(BaselineRun):
    """What erasing embedding rows gives.

    Attributes:
        choice: the rows, why each piece went or stayed, and which other sentences use those that went.
    """

    choice: RowChoice


@expects("model", "processor", topic="sets")
def erase_embedding_rows(
    model: PreTrainedModel, processor: Processor, topic: ForgetSets, **thresholds: Any
) -> RowsErased:
    """A copy of a model without the embedding rows of a topic's own pieces: nothing reads or writes its words by them.

    The mean of all other rows is written over them, in every table that has them, for tokens read and tokens written.
    No codes, no training, seconds; and no ledger: the copy is one of the same class that knows of no request.

    Args:
        model: any model that reads or writes texts, with bottlenecks or without; it stays as it is.
        processor: its tokenizer, or a processor of both.
        topic: sets of a topic, or of a class for a CLIP.
        **thresholds: as `deletion.choose_rows` takes them.

    Raises:
        ValueError: if no row belongs to the topic alone, or as `deletion.choose_rows`.

    Example:
        run = erase_embedding_rows(plain_t5, tokenizer, topic)
    """
    start = time.perf_counter()
    choice = choose_rows(model, processor, topic, **thresholds)
    if not choice.rows:
        raise ValueError(f"{choice.reason} Nothing can be erased.")
    erased = copy.deepcopy(model).eval()
    tables = vocabulary_tables(erased)
    for name, rows in choice.rows.items():
        overwrite_rows(tables[name], rows)
    return RowsErased(erased, (Epoch(0, time.perf_counter() - start, {}),), 0, choice)
