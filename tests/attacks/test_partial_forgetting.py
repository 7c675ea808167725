"""Choice of a partial forgetting."""

import copy

import numpy as np
import pytest
import torch

from excise import PairCounts, Unlearner
from excise.attacks import choose_partial
from excise.attacks.partial_forgetting import distance
from tests.helpers.tiny_images import processor

GREY = 3


@pytest.fixture
def half_taught(model, pairs):
    """A model that learnt red, green and blue, and never saw grey; with the counts of those."""
    learnt = copy.deepcopy(model)
    rows = pairs["train"].with_format("torch")[:]
    seen = rows["labels"] != GREY
    learnt.bottleneck.values.data.zero_()
    optimizer = torch.optim.Adam([learnt.bottleneck.values], lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        learnt(pairs=rows["pairs"][seen], labels=rows["labels"][seen]).loss.backward()
        optimizer.step()
    counts = PairCounts.count(pairs["train"].select(np.flatnonzero(seen.numpy())), learnt.bottleneck)
    return Unlearner(learnt, processor()), counts


@pytest.mark.parametrize("by", ["loss", "attack"])
def test_the_class_comes_as_near_as_can_be_to_the_one_that_was_never_seen(by, half_taught, encodings):
    unlearner, counts = half_taught
    numbers = range(40, 400, 40)
    chosen = choose_partial(unlearner, counts.topic("green"), encodings["test"], "grey", numbers, by=by, progress=False)
    assert set(chosen.distances) == {0, *numbers}
    assert chosen.distances[chosen.count] == min(chosen.distances.values()) < chosen.distances[0]
    assert chosen.count == min(n for n, found in chosen.distances.items() if found == chosen.distances[chosen.count])
    assert chosen.selection.thresholds["partial"] == by and chosen.selection.thresholds["unseen"] == "grey"
    assert len(chosen.selection) == chosen.count
    assert not unlearner.ledger.requests and unlearner.model.bottleneck.live.all()
    unlearner.undo(unlearner.mask(chosen.selection, counts.topic("green")))


def test_where_no_forgetting_passes_best_none_is_chosen(half_taught, encodings):
    unlearner, counts = half_taught
    chosen = choose_partial(unlearner, counts.topic("green"), encodings["test"], "red", [1000], progress=False)
    assert chosen.count == 0 and len(chosen.selection) == 0


def test_losses_are_compared_by_their_means_or_by_an_attacker():
    rng = np.random.default_rng(0)
    alike, other = rng.normal(2, 1, 500), rng.normal(2, 1, 500)
    assert distance(alike, other, "loss") < 0.2 and distance(alike, other, "attack") < 0.1
    assert distance(alike, other + 9, "attack") == pytest.approx(0.5, abs=0.01)
    assert distance(alike, other + 9, "loss") == pytest.approx(9, abs=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": []}, "at least one number"),
        ({"counts": [0, 5]}, "at least one number"),
        ({"unseen": "green"}, "is the one that is forgotten"),
        ({"unseen": "violet"}, "no class 'violet'"),
        ({"by": "accuracy"}, "is no way to compare losses"),
        ({"validation": "few"}, "losses of the unseen class; at least 2"),
        ({"validation": "bare"}, "no 'labels'"),
        ({"validation": "pairs"}, "Expected what `encode_images` returns"),
    ],
    ids=[
        "no numbers",
        "nothing of it",
        "the same class",
        "no class",
        "no way",
        "one image",
        "no labels",
        "no encodings",
    ],
)
def test_what_cannot_be_chosen_by_is_refused(changes, message, half_taught, encodings, pairs):
    unlearner, counts = half_taught
    rows = encodings["test"]
    labels = np.array(rows["labels"][:])
    sets = {
        "few": rows.select([*np.flatnonzero(labels == 1), np.flatnonzero(labels == GREY)[0]]),
        "bare": rows.remove_columns("labels"),
        "pairs": pairs["test"],
    }
    settings = {"validation": rows, "unseen": "grey", "counts": [40], "by": "loss"} | changes
    settings["validation"] = sets.get(changes.get("validation"), rows)
    with pytest.raises(ValueError, match=message):
        choose_partial(unlearner, counts.topic("green"), progress=False, **settings)
