"""Four clouds of points, one a class, and a linear classifier that was trained on all of them."""

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from excise.baselines import LinearClassifier, LinearClassifierConfig, retrain
from excise.baselines.hyperparameters import Hyperparameters

FORGOTTEN = 1


def clouds(rows: int, seed: int, classes=(0, 1, 2, 3), distance: float = 4.0) -> Dataset:
    """Points around the unit vectors, as many of each class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(rows // len(classes))
    points = distance * torch.eye(4)[labels] + torch.randn(len(labels), 4, generator=generator)
    return Dataset.from_dict({"encodings": points.tolist(), "labels": labels.tolist()}).with_format("torch")


@pytest.fixture(scope="session")
def arguments():
    """Makes training arguments: batches of 32, on the CPU, without a sound."""

    def make(learning_rate=0.05, epochs=5, seed=0, **changes):
        args = Hyperparameters(learning_rate, epochs, batch_size=32).arguments(seed=seed, use_cpu=True)
        for name, value in changes.items():
            setattr(args, name, value)
        return args

    return make


@pytest.fixture(scope="session")
def make_linear():
    """Makes an untrained linear classifier of the clouds."""
    return lambda: LinearClassifier(LinearClassifierConfig(hidden_size=4, num_labels=4))


@pytest.fixture(scope="session")
def planted(arguments, make_linear):
    """`model`, and the sets `forget`, `retain`, `forget_test`, `retain_test`, and `tests` of the last two by name."""
    kept = [label for label in range(4) if label != FORGOTTEN]
    whole = clouds(400, seed=0)
    sets = SimpleNamespace(
        whole=whole,
        forget=clouds(100, seed=1, classes=[FORGOTTEN]),
        retain=clouds(300, seed=2, classes=kept),
        forget_test=clouds(100, seed=3, classes=[FORGOTTEN]),
        retain_test=clouds(300, seed=4, classes=kept),
    )
    sets.tests = {"forget": sets.forget_test, "retain": sets.retain_test}
    sets.model = retrain(make_linear, whole, arguments(epochs=10)).model
    return sets
