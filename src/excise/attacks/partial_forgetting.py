"""Partial forgetting: a class forgotten no further than a class that was never seen suggests (membership)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from datasets import Dataset
from torch.nn import functional as F
from tqdm.auto import tqdm

from excise.attacks.membership import ClassLosses, class_membership_inference
from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.codes.finder import CodeFinder
from excise.codes.pair_counts import ClassCounts
from excise.codes.search import Search
from excise.codes.selection import SITE, Selection
from excise.data.class_labels import class_index
from excise.models.class_order import own_classes, places_in_model
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import LABELS, check_encodings
from excise.models.key_value.masked_logits import MaskedLogits
from excise.storage.expected import expects

Likeness = Literal["loss", "attack"]
LIKENESSES: tuple[Likeness, ...] = ("loss", "attack")


def distance(forget: np.ndarray, unseen: np.ndarray, by: Likeness) -> float:
    """How far losses on a forgotten class are from those on a class that was never seen; 0 where they are alike.

    Args:
        forget: losses of validation examples of the forgotten class, one an example.
        unseen: the same of the other class.
        by: `"loss"`: the difference of the mean losses, in nats, as the paper. `"attack"`: how far from a half the
            accuracy of an attacker is that learns from every second loss and is tested on the others.

    Raises:
        MissingExtraError: with `"attack"`, if the extra `attacks` is not installed.
        ValueError: if there are too few losses, they are not finite, or there is no such way.

    Example:
        >>> distance(np.array([1.0, 3.0]), np.array([2.0, 2.5]), "loss")
        0.25
    """
    if by not in LIKENESSES:
        raise ValueError(f"{by!r} is no way to compare losses; expected 'loss' or 'attack'.")
    for name, losses in (("forgotten", forget), ("unseen", unseen)):
        if len(losses) < 2:
            raise ValueError(f"There are {len(losses)} losses of the {name} class; at least 2 are compared.")
    halves = ClassLosses(forget[::2], unseen[::2], forget[1::2], unseen[1::2])
    if by == "loss":
        return float(abs(np.mean(forget) - np.mean(unseen)))
    return abs(class_membership_inference({0: halves}).mean - 0.5)


@dataclass(frozen=True)
class PartialForgetting:
    """Pairs of a class of which just so many are chosen that it passes for one that was never seen.

    Attributes:
        selection: the pairs; its `thresholds` tell how they were chosen, and on how many examples.
        count: how many were asked for; 0 where the model as it is passes best.
        distances: of each number that was tried, what `by` makes smallest; by number.
        by: the way.
    """

    selection: Selection
    count: int
    distances: Mapping[int, float]
    by: Likeness


@expects("finder", validation="dataset")
def choose_partial(
    finder: CodeFinder,
    forget_class: ClassCounts,
    validation: Dataset,
    unseen: str | int,
    counts: Sequence[int],
    *,
    by: Likeness = "loss",
    progress: bool = True,
) -> PartialForgetting:
    """Chooses how many of a class's pairs to mask for the class to pass for one that the model never saw.

    Each number of pairs, those that the class selects most often, is masked for a trial. The one is taken with which
    the losses on the class's validation images are most like those on a class that the model was never trained on. Of
    numbers that are as good the smallest is taken, and none at all is among them.

    Args:
        finder: the model; it is left as it was.
        forget_class: the class as it is known by counts, `counts.topic(name)`.
        validation: encodings and labels that the model was not trained on, with some of both classes. What is measured
            afterwards is to be measured on others.
        unseen: a class of the model that it was never trained on: its name, or its label in the model.
        counts: numbers of pairs to try.
        by: `"loss"`, without any attack, or `"attack"`: `distance` says how.
        progress: show a progress bar.

    Raises:
        MissingExtraError: with `"attack"`, if the extra `attacks` is not installed.
        ValueError: if there are no numbers, the validation set has fewer than 2 examples of one of the classes or other
            encodings, there is no such class, the classes are the same, or there is no such way.

    Example:
        chosen = choose_partial(unlearner, counts.topic("cat"), validation, "truck", range(1_000, 50_000, 1_000))
        unlearner.mask(chosen.selection, counts.topic("cat"))

    Source: *Unlearning via Sparse Representations*, appendix D.
    """
    if not counts or min(counts) < 1:
        raise ValueError(f"counts={list(counts)}: expected at least one number of pairs, of 1 or more.")
    check_encodings(validation, cast(KeyValueForImageClassification, finder.model))
    own = own_classes(finder.model.config)
    known = forget_class.counts.classes
    forgotten = forget_class.label if known is None else places_in_model(finder.model.config, known)[forget_class.label]
    other = unseen if isinstance(unseen, int) and unseen < len(own) else class_index(unseen, own)
    if forgotten == other:
        raise ValueError(f"Class {own[other]!r} is the one that is forgotten; give another that was never seen.")
    if LABELS not in validation.column_names:
        raise ValueError(f"The validation set has no {LABELS!r}; its columns are {validation.column_names}.")
    labels = np.asarray(validation.with_format("numpy")[LABELS][:])
    bottleneck = cast(KeyValueBottleneck, finder.sites[SITE])
    both = np.flatnonzero((labels == forgotten) | (labels == other))
    reading, labels = MaskedLogits(bottleneck, validation.select(both)), labels[both]

    def measured() -> float:
        logits = reading.logits().float().cpu()
        losses = [
            F.cross_entropy(part, torch.full((len(part),), index), reduction="none").double().numpy()
            for index, part in ((index, logits[torch.from_numpy(labels == index)]) for index in (forgotten, other))
        ]
        return distance(losses[0], losses[1], by)

    distances, selections = {0: measured()}, {0: Selection({})}
    for count in tqdm(sorted(set(counts)), desc="partial forgetting", disable=not progress, leave=False):
        selections[count] = finder.choose(forget_class, Search("activations", count=count))
        with finder.trial(selections[count]):
            distances[count] = measured()
    best = min(distances, key=lambda count: (distances[count], count))
    examples = [int((labels == index).sum()) for index in (forgotten, other)]
    thresholds = {"partial": by, "distance": distances[best], "unseen": own[other], "examples": examples}
    chosen = selections[best]
    selection = Selection(chosen.codes, {**chosen.thresholds, **thresholds}, identity=chosen.identity)
    return PartialForgetting(selection, best, distances, by)
