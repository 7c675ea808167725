"""Depth of a deletion: codes alone, the embedding rows of the topic's own pieces too, or a distilled copy."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers import PreTrainedModel

from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Processor
from excise.ledger.embeddings import vocabulary_tables
from excise.ledger.ledger import Ledger
from excise.ledger.masks import enforce
from excise.ledger.request import Rows

if TYPE_CHECKING:  # what makes topics loads what only they need
    from excise.deletion.topic_rows import RowChoice

DEPTHS = ("codes", "rows")
# What can be done where the pieces of a word or name are everyone's.
ELSE = "Its codes can go, and with depth='distilled' what the weights hold of it, in minutes to hours."

logger = logging.getLogger(__name__)


def rows_to_erase(
    model: PreTrainedModel, processor: Processor, sets: Any, depth: str | None, private: bool
) -> tuple[Rows, dict[str, Any]]:
    """The embedding rows that go with a topic's codes, and what the ledger says of them.

    Args:
        model: the model.
        processor: its tokenizer, or a processor of both.
        sets: what is forgotten: rows are chosen on sets of `topic_sets`, `class_sets` or `question_sets` alone.
        depth: `"codes"` or `"rows"`; without one, the rows where they can be chosen and the request is
            not private: an erased row, held against the public base, names its piece.
        private: whether nobody is to read what is forgotten.

    Returns:
        By embedding table, numbers of tokens; and thresholds.

    Raises:
        ValueError: if there is no such depth, or rows are asked for and cannot be chosen, or there are none that
            belong to the topic alone.
    """
    if depth not in (None, *DEPTHS):
        raise ValueError(
            f"depth={depth!r}: expected one of {DEPTHS}, or None for the deepest that takes seconds; a deletion, which "
            "is no mask, may be 'distilled'."
        )
    if depth == "codes" or (depth is None and (private or not isinstance(sets, ForgetSets))):
        return {}, {}
    if depth is None and not vocabulary_tables(model):
        return {}, {}
    if not isinstance(sets, ForgetSets):
        raise ValueError(
            f"depth={depth!r} erases embedding rows, which are chosen on the sets of a topic; a {type(sets).__name__} "
            "was given. Give what `topic_sets`, `class_sets` or `question_sets` made, or depth='codes'."
        )
    from excise.deletion.topic_rows import choose_rows

    try:
        choice = choose_rows(model, processor, sets)
    except ValueError as error:
        if depth is not None:
            raise
        logger.warning("No embedding rows are erased: %s", error)
        return {}, {}
    if not choice.rows and depth is not None:
        raise ValueError(f"depth='rows': {choice.reason} Take depth='codes', or 'distilled'. {ELSE}")
    if not choice.rows:
        logger.warning("No embedding rows are erased: %s %s", choice.reason, ELSE)
        return {}, {}
    if private:
        logger.warning(
            "Embedding rows of a private topic are erased: whoever holds the file against the public base reads from "
            "them which pieces went."
        )
    return choice.rows, {"rows": _said(choice)}


def distilled_weights(
    model: PreTrainedModel,
    processor: Processor,
    codes: Mapping[str, Sequence[int]],
    rows: Rows,
    topic: Any,
    settings: Mapping[str, Any],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of a copy that learnt from a model without a topic, after noise; the model stays as it is.

    Args:
        model: the model, with the topic.
        processor: its tokenizer or processor.
        codes: by site, those that are deleted first.
        rows: by embedding table, those that are erased first.
        topic: its sets.
        settings: arguments of `distil`; without `retain`, it learns on the topic's own retain set, which is small.

    Returns:
        The state, and what the ledger says of the distillation.

    Raises:
        ValueError: as `distil`, or if the copy ends above its budget.
    """
    from excise.deletion.distilling import distil

    options = {"retain": getattr(topic, "retain", None), "topic": topic, **settings}
    if options["retain"] is None:
        raise ValueError("depth='distilled' learns on rows without the topic: give distillation={'retain': rows}.")
    teacher = copy.deepcopy(model)
    ledger = Ledger.from_dict(teacher.config.unlearning)
    enforce(teacher, ledger.add("delete", "distilled", codes, rows={name: tuple(ids) for name, ids in rows.items()}))
    result = distil(teacher, processor, **options)
    if not result.within_budget:
        raise ValueError(
            f"The distilled copy ends {result.rise:.1%} above the loss of its teacher, {result.budget:.1%} are "
            "allowed, so nothing is deleted. Train longer, on more rows, with less noise, or give a larger `budget`."
        )
    known = {"noise": result.noise, "budget": result.budget, "rise": result.rise, "heldout": result.heldout}
    return result.model.state_dict(), {"distilled": known | {"seconds": result.seconds}}


def _said(choice: "RowChoice") -> dict[str, Any]:
    others = {row for row, _ in choice.collateral}
    return {**choice.thresholds, "pieces": len(choice), "other_rows_with_them": len(others)}
