"""Output of a verb, for a reader and for a script."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Output:
    """The result of a verb.

    Attributes:
        text: for a reader.
        data: for a script, JSON values.
        problems: why the verb failed although it came to its end.
    """

    text: str
    data: dict[str, Any]
    problems: tuple[str, ...] = ()

    def json_data(self) -> dict[str, Any]:
        """The data as strict JSON knows it: NaN and infinity are null."""
        from excise.storage.strict_json import json_values

        return json_values(self.data | {"problems": list(self.problems)})


def hide_library_bars() -> None:
    """Hides the bars that libraries show by themselves; excise's own are made or not, as asked."""
    from datasets import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()
