"""Frontier of forgetting and keeping, measured for every number of removed pairs: figures 2, 3 and 7."""

from collections.abc import Mapping
from typing import cast

import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.codes.finder import CodeFinder
from excise.codes.selection import SITE, Selection
from excise.ledger.packing import codes_digest
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import LABELS, check_encodings
from excise.models.key_value.masked_logits import MaskedLogits
from excise.report.frontier import Frontier, Point
from excise.storage.expected import expects


@expects("finder", test="dataset")
def frontier(
    finder: CodeFinder,
    test: Dataset,
    forget_class: int,
    selections: Mapping[int, Selection],
    *,
    reading: MaskedLogits | None = None,
    progress: bool = True,
) -> Frontier:
    """Masks each selection for a trial and measures accuracies; the model is left as it was.

    Args:
        finder: the model, with the masks that are in force already.
        test: encodings and labels that no pair was chosen on.
        forget_class: index of the class that is to be forgotten.
        selections: by count, such as `finder.choose(counts.topic(...), Search("activations", count=...))`.
        reading: of the same test set, from an earlier call with this model; made if not given.
        progress: show a progress bar.

    Raises:
        ValueError: if the test set has no labels, no example of the class or of another one, or encodings by another
            encoder than the model's, or the reading is of another set or model.
    """
    check_encodings(test, cast(KeyValueForImageClassification, finder.model))
    if LABELS not in test.column_names:
        raise ValueError(f"The test set has no {LABELS!r}; its columns are {test.column_names}.")
    labels = np.asarray(test.with_format("numpy")[LABELS][:])
    forget = labels == forget_class
    if not 0 < forget.sum() < len(forget):
        raise ValueError(f"{forget.sum()} of {len(forget)} test examples are of class {forget_class}; expected some.")
    bottleneck = cast(KeyValueBottleneck, finder.sites[SITE])
    reading = MaskedLogits(bottleneck, test) if reading is None else reading
    if reading.bottleneck is not bottleneck or reading.rows != test._fingerprint:
        raise ValueError("`reading` is of another model or another test set. Make it of these, or leave it out.")

    def point(count: int, removed: int) -> Point:
        right = reading.logits().argmax(-1).cpu().numpy() == labels
        return Point(count, removed, float(right[forget].mean()), float(right[~forget].mean()))

    def state() -> str:
        return codes_digest({SITE: (~bottleneck.live).nonzero().flatten().tolist()})

    points, states = [point(0, 0)], [state()]
    for count, selection in tqdm(sorted(selections.items()), desc="frontier", disable=not progress, leave=False):
        with finder.trial(selection):
            points.append(point(count, selection.num_codes))
            states.append(state())
    last = selections[max(selections)] if selections else Selection({})
    names = cast(dict[int, str], finder.model.config.id2label)
    return Frontier(
        topic=names.get(forget_class, str(forget_class)),
        method=last.thresholds.get("method", ""),
        points=tuple(points),
        examples=(int(forget.sum()), int((~forget).sum())),
        thresholds=last.thresholds,
        states=tuple(states),
    )
