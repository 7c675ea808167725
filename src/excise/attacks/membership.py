"""Class membership inference: a forgotten class told from one that was never seen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import scipy

from excise.statistics import Interval
from excise.storage.extras import require


@dataclass(frozen=True)
class ClassLosses:
    """A model's losses on the forgotten class and on a held-out one that it was never trained on.

    Attributes:
        forget_validation: losses, one an example, that the attacker learns from.
        heldout_validation: the same of the held-out class.
        forget_test: losses of other examples, that the attacker is tested on.
        heldout_test: the same of the held-out class.

    Raises:
        ValueError: if one of them is empty, no row of numbers, or holds NaN or infinity.
    """

    forget_validation: np.ndarray
    heldout_validation: np.ndarray
    forget_test: np.ndarray
    heldout_test: np.ndarray

    def __post_init__(self) -> None:
        for field in fields(self):
            losses = np.asarray(getattr(self, field.name), dtype=np.float64)
            if losses.ndim != 1 or len(losses) == 0:
                raise ValueError(
                    f"`{field.name}` has shape {losses.shape}; expected one loss for each of at least one example."
                )
            if broken := int((~np.isfinite(losses)).sum()):
                raise ValueError(
                    f"`{field.name}` has {broken} of {len(losses)} losses that are not finite. The model has diverged, "
                    "or its losses overflow: compute them in fp32."
                )
            object.__setattr__(self, field.name, losses)


@dataclass(frozen=True)
class ClassMembership:
    """How well an attacker tells the forgotten class from the held-out one. About a half is a successful defence.

    Attributes:
        accuracy: for each seed, the attacker's share of right answers on the test losses.
        mean: their mean.
        interval: a 95 % interval of the mean (Student's t over the seeds); `None` for a single seed.
        examples: for each seed, the numbers of test losses, of the forgotten and of the held-out class.
    """

    accuracy: Mapping[int, float]
    mean: float
    interval: Interval | None
    examples: Mapping[int, tuple[int, int]]


def class_membership_inference(losses: Mapping[int, ClassLosses]) -> ClassMembership:
    """Attacks models that forgot a class: a logistic regression learns from losses whether the class was trained on.

    It is trained on the validation losses of the forgotten class (1) and of the held-out one (0), and tested on the
    test losses. Losses are standardised first, so that their scale does not matter to the regression's penalty. Where
    the two classes have different numbers of examples they weigh the same, and chance is a half.

    An attacker on one side of a threshold only: that the forgotten class has both smaller and larger losses than the
    held-out one goes unnoticed.

    Args:
        losses: for each seed that the experiment was run with, the losses of its model, from `example_losses`. Nothing
            else depends on the seed: the attacker is deterministic.

    Raises:
        MissingExtraError: if the extra `attacks` is not installed.
        ValueError: if there is no seed.

    Example:
        sets = forget_validation, heldout_validation, forget_test, heldout_test
        found = class_membership_inference({0: ClassLosses(*(example_losses(model, rows) for rows in sets))})

    Source: *Unlearning via Sparse Representations*, appendix D and table 3 (3 seeds); Kurmanji et al. (2023).
    """
    require("attacks", purpose="class_membership_inference")
    if not losses:
        raise ValueError("There are no losses to attack; give those of at least one seed.")
    accuracies = {seed: _attack(found) for seed, found in losses.items()}
    examples = {seed: (len(found.forget_test), len(found.heldout_test)) for seed, found in losses.items()}
    values = list(accuracies.values())
    return ClassMembership(accuracies, float(np.mean(values)), _interval(values), examples)


def _attack(losses: ClassLosses) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    attacker = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    attacker.fit(*_labelled(losses.forget_validation, losses.heldout_validation))
    features, truth = _labelled(losses.forget_test, losses.heldout_test)
    return float(balanced_accuracy_score(truth, attacker.predict(features)))


def _labelled(forget: np.ndarray, heldout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses as features, `(examples, 1)`, and whether each is of the forgotten class."""
    return np.concatenate([forget, heldout])[:, None], np.repeat([1, 0], [len(forget), len(heldout)])


def _interval(values: list[float]) -> Interval | None:
    if len(values) < 2:
        return None
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return Interval(max(0.0, float(np.mean(values) - half)), min(1.0, float(np.mean(values) + half)))
