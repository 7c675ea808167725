"""What became of what a model was asked to forget."""

from collections.abc import Mapping, Sequence
from typing import Any

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
