"""Base of the metrics: checked inputs, and nothing left on the disk."""

from collections.abc import Iterable
from typing import Any, ClassVar

import evaluate
from datasets import Features, Sequence, Value

INPUTS = """
Args:
    predictions: list of str, the generated texts.
    references: for each prediction one str, or a non-empty list of str.
"""


class TextMetric(evaluate.Metric):
    """An `evaluate.Metric` that compares predicted texts with one or more reference texts each.

    A subclass says what it measures and implements `_compute(predictions, references)`, where `references` always
    holds a list of str for each prediction.

    In one process the inputs stay in memory: no cache folder, no lock file. With `num_process > 1` they go through
    evaluate's cache folder, which the processes share.

    Args:
        num_process: number of processes that add inputs to this metric.
        process_id: which of them this is.
        experiment_id: name that keeps this evaluation apart from others in a shared cache folder.
        cache_dir: the cache folder for `num_process > 1`; evaluate's own by default.
    """

    about: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def __init__(
        self,
        *,
        num_process: int = 1,
        process_id: int = 0,
        experiment_id: str | None = None,
        cache_dir: str | None = None,
    ):
        super().__init__(
            keep_in_memory=num_process == 1,
            num_process=num_process,
            process_id=process_id,
            experiment_id=experiment_id,
            cache_dir=cache_dir,
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **inputs: Any) -> None:
        """Keep one prediction and its reference (or list of references) for a later `compute()`."""
        # evaluate.combine passes the singular values under the plural names.
        prediction, reference = inputs.pop("predictions", prediction), inputs.pop("references", reference)
        self.add_batch(predictions=[prediction], references=[reference], **inputs)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **inputs: Any) -> None:
        """Keep predictions and references for a later `compute()`."""
        predictions, references = checked(predictions, references)
        super().add_batch(predictions=predictions, references=references, **inputs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.about,
            citation=self.source,
            inputs_description=INPUTS,
            features=Features({"predictions": Value("string"), "references": Sequence(Value("string"))}),
        )

    def _build_data_dir(self) -> str:
        return "" if self.keep_in_memory else super()._build_data_dir()

    def _finalize(self) -> None:
        if self.keep_in_memory and self.buf_writer is None:
            raise ValueError("There is nothing to score: pass predictions and references, or call add_batch first.")
        super()._finalize()


def checked(predictions: Any, references: Any) -> tuple[list[str], list[list[str]]]:
    """Predictions as a list of str, and the references of each as a list of str.

    Raises:
        ValueError: something is missing, empty, of unequal length or not text; the message says where.
    """
    predictions = _column("predictions", predictions)
    references = _column("references", references)
    if len(predictions) != len(references):
        raise ValueError(
            f"Got {len(predictions)} predictions and {len(references)} references: expected one entry in references "
            "for each prediction (a str, or a list of str where there are several)."
        )
    for row, prediction in enumerate(predictions):
        if not isinstance(prediction, str):
            raise ValueError(f"predictions[{row}] is {prediction!r}: expected a str.")
    grouped = [[entry] if isinstance(entry, str) else entry for entry in references]
    for row, group in enumerate(grouped):
        if not isinstance(group, list | tuple) or not group or not all(isinstance(text, str) for text in group):
            raise ValueError(f"references[{row}] is {references[row]!r}: expected a str or a non-empty list of str.")
    return predictions, [list(group) for group in grouped]


def _column(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is {values!r}: expected a list with one entry per example.")
    values = list(values)
    if not values:
        raise ValueError(f"{name} is empty: expected at least one example.")
    return values
