"""Limits of the evidence: what it does not show, said in every report."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from excise.bottlenecks.registry import kind_named
from excise.report.measures import Condition

MASKED, DELETED, UNDONE, NOTHING = "masked", "deleted", "undone", "nothing"


def standing(mode: str, sites: Sequence[Mapping[str, Any]], requests: Sequence[Mapping[str, Any]]) -> str:
    """Whether what was forgotten can be brought back from what is shared.

    Args:
        mode: `"mask"` or `"delete"`.
        sites: the `sites` of a record's model.
        requests: as in a record.

    Returns:
        `"masked"` if a mask is in force, and the mode leaves it one; `"deleted"` if all that is in force is a deletion;
        `"undone"` if no request is in force any more; `"nothing"` if there was none.
    """
    if mode == "mask" and any(site["masked"] for site in sites):
        return MASKED
    if any(not request["undone"] for request in requests):
        return DELETED
    return UNDONE if requests else NOTHING


MASK = (
    "That the topic is gone from the files: a mask is reversible, and the masked codes are still in the weights. "
    "Delete before you share."
)
DELETE = (
    "That the topic cannot be brought back by training the model on: the rows of its codes are gone, but what "
    "stands before and after them was trained beside them."
)
ATTACKED = (
    "That nothing brings the topic back but what was tried: each attack stands beside what it got. Whoever has "
    "examples of a word or a class can teach it to any model again, by training it on."
)
NO_ATTACKS = "What somebody gets back who has the files and works on them: no attack was run on this state."
NO_EVALUATION = "How well the topic is forgotten and what that costs: no evaluation is part of this record."
NO_CONTROL = "That these codes were the ones that mattered: as many random codes were not tried beside them."
NO_LEFT_OUT = "What comes back where the bottleneck is left out: that was not measured."
NO_REFERENCE = "How a model that never saw the topic would do: there is none to hold the outputs against."
ONE_DRAW = "How much the control varies: the random codes are one draw."


def not_shown(
    stands: str, sites: Sequence[Mapping[str, Any]], conditions: Sequence[Collection[str]], attacked: bool = False
) -> list[str]:
    """Sentences, each of something that a reader might expect and that is not shown.

    Args:
        stands: what became of what was forgotten, from `standing`.
        sites: the `sites` of a record's model.
        conditions: of each evaluation, those under which it was made.
        attacked: whether attacks were run on what is shared.
    """
    kinds = sorted({site["kind"] for site in sites})
    deleted = [ATTACKED] if attacked else [DELETE, NO_ATTACKS]
    sentences = {MASKED: [MASK], DELETED: deleted}.get(stands, [])
    limits = (getattr(kind_named(kind), "limits", None) for kind in kinds)
    sentences += [sentence for sentence in limits if sentence]
    if not conditions:
        return [*sentences, NO_EVALUATION]
    if needed(sites) is None and any(Condition.LEFT_OUT not in made for made in conditions):
        sentences.append(NO_LEFT_OUT)
    without = any(Condition.RANDOM not in made for made in conditions)
    sentences.append(NO_CONTROL if without else ONE_DRAW)
    if any(Condition.REFERENCE not in made for made in conditions):
        sentences.append(NO_REFERENCE)
    return sentences


def needed(sites: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a model gives no answer without its bottlenecks, in a sentence; `None` where it does."""
    kinds = sorted({site["kind"] for site in sites})
    reasons = (getattr(kind_named(kind), "needed", None) for kind in kinds)
    return next((reason for reason in reasons if reason), None)
