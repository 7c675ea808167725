"""Scores of a language model's answers: every measure with its values by row, as OpenUnlearning keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from excise.storage.display import HtmlTable, pandas_module, shortened

# What is told first of a model, where it was measured.
HEADLINES = ("forget_quality", "model_utility", "forget_Q_A_Prob", "forget_Q_A_ROUGE", "privleak")
TRUTH_RATIO = "forget_truth_ratio"
MIN_K = "mia_min_k"


@dataclass(frozen=True, repr=False)
class QuestionScores(HtmlTable):
    """What a language model still knows of what it was to forget, and of what was to stay.

    Names are OpenUnlearning's: `forget_quality`, `model_utility`, `forget_Q_A_Prob`, `retain_Q_A_ROUGE` and so on; `ra`
    are real authors and `wf` world facts. What each is stands at the functions of `excise.evaluation.metrics.answers`.

    Attributes:
        logs: by measure `agg_value`, its value, and mostly `value_by_index`, the values by number of row.
        settings: what was asked, how, and of which model.
        not_measured: by measure, why it is not there.
    """

    logs: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    not_measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, float]:
        """The value of each measure that has one."""
        return {name: of["agg_value"] for name, of in self.logs.items() if of.get("agg_value") is not None}

    def __getitem__(self, measure: str) -> float:
        """The value of a measure.

        Raises:
            KeyError: if there is none; the message says why.
        """
        if measure not in self.summary:
            why = self.not_measured.get(measure, f"measured are {', '.join(self.summary) or 'none'}")
            raise KeyError(f"{measure} was not measured: {why}.")
        return self.summary[measure]

    def by_row(self, measure: str, what: str = "score") -> np.ndarray:
        """The values of a measure by row, in order; NaN where a row has none.

        Args:
            measure: its name.
            what: which of its values: `"score"` of truth ratios, `"prob"` and `"avg_loss"` of probabilities,
                `"rougeL_recall"` of ROUGE.

        Raises:
            KeyError: if the measure has no such values.
        """
        rows = self.logs[measure].get("value_by_index") or {}
        ordered = [rows[number] for number in sorted(rows, key=int)]
        if not ordered:
            raise KeyError(f"{measure} has no values by row. Of it there is one value alone.")
        values = [np.nan if row is None or row[what] is None else row[what] for row in ordered]
        return np.array(values, dtype=np.float64)

    def __repr__(self) -> str:
        summary = self.summary
        values = ", ".join(f"{name} {summary[name]:.3g}" for name in HEADLINES if name in summary)
        title = self.settings.get("title")
        return (
            f"QuestionScores{f' of {shortened(title)!r}' if title else ''}: {values or 'nothing of what is told first'}"
        )

    def __str__(self) -> str:
        width = max(map(len, (*self.logs, *self.not_measured)), default=0)
        lines = [f"{name:{width}} {value:.4g}" for name, value in self.summary.items()]
        lines += [f"{name:{width}} not measured: {why}" for name, why in self.not_measured.items()]
        return "\n".join([repr(self), *lines])

    def to_pandas(self) -> Any:
        """A row a measure."""
        rows = [
            {"measure": name, "value": value, "rows": len(self.logs[name].get("value_by_index") or ()) or None}
            for name, value in self.summary.items()
        ]
        return pandas_module().DataFrame(rows, columns=["measure", "value", "rows"])
