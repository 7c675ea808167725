"""Frontier of forgetting and keeping, measured for every number of removed pairs: figures 2, 3 and 7."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import BaseImageProcessor

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.codes.finder import CodeFinder
from excise.codes.pair_counts import ClassCounts
from excise.codes.search import Search
from excise.codes.selection import SITE, Selection
from excise.data.class_labels import class_index
from excise.data.images import columns_of
from excise.data.inputs import ENCODINGS, image_processor_of
from excise.ledger.packing import codes_digest
from excise.models.class_order import own_classes, places_in_model
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import LABELS, check_encodings, encode_images
from excise.models.key_value.masked_logits import MaskedLogits
from excise.report.frontier import Frontier, Point
from excise.storage.display import few
from excise.storage.expected import expects


@expects("finder", test="dataset")
def frontier(
    finder: CodeFinder,
    test: Dataset,
    forget_class: str | int | ClassCounts,
    selections: Mapping[int, Selection] | Sequence[int],
    *,
    reading: MaskedLogits | None = None,
    progress: bool = True,
) -> Frontier:
    """Masks each selection for a trial and measures accuracies; the model is left as it was.

    Args:
        finder: the model, with the masks that are in force already.
        test: encodings and labels that no pair was chosen on, or images with labels, which are encoded.
        forget_class: the class that is to be forgotten: its name, or its label in the model; or the class as it is
            known by counts, `counts.topic(...)`.
        selections: by count, such as `finder.choose(counts.topic(...), Search("activations", count=...))`; of a class
            known by counts, the numbers of pairs are enough: so many are masked that it selects most often.
        reading: of the same test set, from an earlier call with this model; made if not given.
        progress: show a progress bar.

    Raises:
        ValueError: if the test set has no labels, no example of the class or of another one, or encodings by another
            encoder than the model's, the reading is of another set or model, there is no such class, or numbers of
            pairs are given without counts.
    """
    index, name = _class_of(finder, forget_class)
    selections = _selections(finder, forget_class, selections)
    if ENCODINGS not in test.column_names and columns_of(test, "Image"):
        processor = cast(BaseImageProcessor, image_processor_of(finder.processor))
        test = encode_images(cast(KeyValueForImageClassification, finder.model), test, processor, progress=progress)
    check_encodings(test, cast(KeyValueForImageClassification, finder.model))
    if LABELS not in test.column_names:
        raise ValueError(f"The test set has no {LABELS!r}; its columns are {test.column_names}.")
    labels = np.asarray(test.with_format("numpy")[LABELS][:])
    forget = labels == index
    if not 0 < forget.sum() < len(forget):
        raise ValueError(f"{forget.sum()} of {len(forget)} test examples are of class {name}; expected some.")
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
    return Frontier(
        topic=name,
        method=last.thresholds.get("method", ""),
        points=tuple(points),
        examples=(int(forget.sum()), int((~forget).sum())),
        thresholds=last.thresholds,
        states=tuple(states),
    )


def _class_of(finder: CodeFinder, forget_class: str | int | ClassCounts) -> tuple[int, str]:
    """The label of a class in the model, and its name."""
    own = own_classes(finder.model.config)
    if isinstance(forget_class, int) and forget_class >= len(own):
        return forget_class, str(forget_class)
    if not isinstance(forget_class, ClassCounts):
        index = class_index(forget_class, own)
        return index, own[index]
    classes = forget_class.counts.classes
    places = range(len(own)) if classes is None else places_in_model(finder.model.config, classes)
    return places[forget_class.label], forget_class.name


def _selections(
    finder: CodeFinder, forget_class: str | int | ClassCounts, selections: Mapping[int, Selection] | Sequence[int]
) -> Mapping[int, Selection]:
    """Selections by count, chosen by counts where only the numbers are given."""
    if isinstance(selections, Mapping):
        return selections
    if not isinstance(forget_class, ClassCounts):
        raise ValueError(
            f"Which pairs are masked is not known of the numbers {few(list(selections))} alone. Give the class as "
            "`counts.topic(name)`, or selections by their numbers."
        )
    return {count: finder.choose(forget_class, Search("activations", count=count)) for count in selections}
