"""What a verb has to say, to a reader and to a script."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
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
        return _strict(self.data | {"problems": list(self.problems)})


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
