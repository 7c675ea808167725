"""What a folder that is to be pushed says of itself, checked before anything is sent."""

import os
from dataclasses import dataclass
from pathlib import Path

from excise.bundle import check_bundle
from excise.erasure import ErasedRows
from excise.hub.account import NotPushedError
from excise.report import Record


@dataclass(frozen=True)
class BundleContents:
    """What there is to know of a bundle before it is pushed.

    Args:
        mode: `"mask"` or `"delete"`.
        deletes: whether something was deleted from the model.
        base: id and revision of the model that a bottleneck-only bundle needs; `None` for a folder's revision.
    """

    mode: str
    deletes: bool
    base: tuple[str, str | None] | None

    @classmethod
    def check(cls, folder: str | os.PathLike, erased: ErasedRows) -> "BundleContents":
        """Reads what a bundle says of itself, and looks for what must not be there.

        Args:
            folder: of the bundle.
            erased: the rows that must not be in it.

        Raises:
            ValueError: if the folder is no bundle, was changed after it was written, or holds what was deleted.
        """
        manifest, state = check_bundle(folder), Record.load(Path(folder, "report")).state
        if state["mode"] != manifest["mode"]:
            raise NotPushedError(f"The bundle is a {manifest['mode']!r}, and its report is of a {state['mode']!r}.")
        if left := erased.find_in(folder):
            raise NotPushedError(f"The bundle holds what was deleted: {left[0]}. Write it again, into a new folder.")
        base = manifest["base_checkpoint"]
        return cls(
            manifest["mode"],
            any(request["kind"] == "delete" for request in state["requests"]),
            None if base is None else (base["id"], base["revision"]),
        )
