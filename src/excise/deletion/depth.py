"""Depth of a deletion: codes alone, the embedding rows of the topic's own pieces too, or a distilled copy."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Processor
from excise.ledger.embeddings import vocabulary_tables

if TYPE_CHECKING:  # what makes topics loads what only they need
    from excise.deletion.topic_rows import RowChoice

DEPTHS = ("codes", "rows", "distilled")

logger = logging.getLogger(__name__)


def rows_to_erase(
    model: PreTrainedModel, processor: Processor, sets: Any, depth: str | None, private: bool
) -> tuple[Mapping[str, tuple[int, ...]], dict[str, Any]]:
    """The embedding rows that go with a topic's codes, and what the ledger says of them.

    Args:
        model: the model.
        processor: its tokenizer, or a processor of both.
        sets: what is forgotten: rows are chosen on sets of `topic_sets` or `class_sets` alone.
        depth: `"codes"`, `"rows"` or `"distilled"`; without one, the rows where they can be chosen and the request is
            not private: an erased row, held against the public base, names its piece.
        private: whether nobody is to read what is forgotten.

    Returns:
        By embedding table, numbers of tokens; and thresholds.

    Raises:
        ValueError: if there is no such depth, or rows are asked for and cannot be chosen, or there are none that
            belong to the topic alone.
    """
    if depth not in (None, *DEPTHS):
        raise ValueError(f"depth={depth!r}: expected one of {DEPTHS}, or None for the deepest that takes seconds.")
    if depth == "codes" or (depth is None and (private or not isinstance(sets, ForgetSets))):
        return {}, {}
    if depth is None and not vocabulary_tables(model):
        return {}, {}
    if not isinstance(sets, ForgetSets):
        raise ValueError(
            f"depth={depth!r} erases embedding rows, which are chosen on the sets of a topic; a {type(sets).__name__} "
            "was given. Give what `topic_sets` or `class_sets` made, or depth='codes'."
        )
    from excise.deletion.topic_rows import choose_rows

    try:
        choice = choose_rows(model, processor, sets)
    except ValueError as error:
        if depth is not None:
            raise
        logger.warning("No embedding rows are erased: %s", error)
        return {}, {}
    if not choice.rows and depth == "rows":
        raise ValueError(f"depth='rows': {choice.reason} Take depth='codes', or 'distilled'.")
    if not choice.rows:
        logger.warning("No embedding rows are erased: %s", choice.reason)
        return {}, {}
    if private:
        logger.warning(
            "Embedding rows of a private topic are erased: whoever holds the file against the public base reads from "
            "them which pieces went."
        )
    return choice.rows, {"rows": _said(choice)}


def _said(choice: "RowChoice") -> dict[str, Any]:
    others = {row for row, _ in choice.collateral}
    return {**choice.thresholds, "pieces": len(choice), "other_rows_with_them": len(others)}
