"""What a folder that is to be pushed says of itself, checked before anything is sent."""

import os
from dataclasses import dataclass
from pathlib import Path

from excise.report import Record


@dataclass(frozen=True)
class BundleContents:
    """What there is to know of a bundle before it is pushed.

    Args:
        mode: `"mask"` or `"delete"`.
        deletes: whether something was deleted from the model.
        base: id and revision of the model that a bottleneck-only bundle needs.
    """

    mode: str
    deletes: bool
    base: tuple[str, str] | None

    @classmethod
    def check(cls, folder: str | os.PathLike) -> "BundleContents":
        """Reads what a bundle says of itself.

        Raises:
            ValueError: if the folder is no bundle, or was changed after it was written.
        """
        state = Record.load(Path(folder, "report")).state
        deletes = any(request["kind"] == "delete" for request in state["requests"])
        return cls(state["mode"], deletes, None)
