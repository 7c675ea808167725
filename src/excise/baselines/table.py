"""Table of several baselines' runs: accuracies and errors on each data set, and how long they took."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from excise.baselines.history import BaselineRun
from excise.report.markdown import markdown
from excise.storage.display import HtmlTable, few

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class BaselineTable(HtmlTable):
    """Several runs beside each other, one row each, as the paper's table 8 has them.

    Attributes:
        runs: by what the table calls them, in its order. All were evaluated on data sets of the same names.

    Raises:
        ValueError: if there is none, one is no run, or they were evaluated on other sets.

    Example:
        print(BaselineTable({"SCRUB": scrub(...), "NegGrad+": gradient_difference(...), "retrained": retrain(...)}))
    """

    runs: Mapping[str, BaselineRun]

    def __post_init__(self) -> None:
        wrong = [name for name, run in self.runs.items() if not isinstance(run, BaselineRun)]
        if wrong or not self.runs:
            given = f"{wrong[0]!r} is a {type(self.runs[wrong[0]]).__name__}" if wrong else "there is none"
            raise ValueError(
                f"Expected runs of baselines by name, and {given}. Give what `scrub` and the others return."
            )
        sets = {name: (*run.accuracy, *run.loss) for name, run in self.runs.items()}
        first = next(iter(sets))
        for name, of_run in sets.items():
            if set(of_run) != set(sets[first]):
                raise ValueError(
                    f"{name!r} was evaluated on {few(of_run) or 'nothing'}, and {first!r} on {few(sets[first])}. Run "
                    "them with the same `evaluate_on`."
                )

    def __repr__(self) -> str:
        return f"BaselineTable: {few(list(self.runs))}"

    def __str__(self) -> str:
        return self.to_markdown()

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a run: `baseline`, `epoch`, `seconds`, and for each data set accuracy and error, or the loss."""
        import pandas

        return pandas.DataFrame([self._row(name, run) for name, run in self.runs.items()])

    def to_markdown(self) -> str:
        """The table in Markdown; accuracies and errors in percent."""
        rows = [self._row(name, run) for name, run in self.runs.items()]
        header = list(rows[0])
        return markdown(header, [[_cell(name, row[name]) for name in header] for row in rows])

    def _row(self, name: str, run: BaselineRun) -> dict[str, Any]:
        row: dict[str, Any] = {"baseline": name, "epoch": run.epoch, "seconds": run.seconds}
        for dataset, accuracy in run.accuracy.items():
            row |= {f"accuracy on {dataset}": accuracy, f"error on {dataset}": 1 - accuracy}
        return row | {f"loss on {dataset}": loss for dataset, loss in run.loss.items()}


def _cell(name: str, value: Any) -> str:
    if name.startswith(("accuracy", "error")):
        return f"{100 * value:.2f} %"
    return str(value) if isinstance(value, str | int) else f"{value:.2f}"
