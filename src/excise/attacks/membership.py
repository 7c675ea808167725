"""Membership inference on images: a forgotten class told from one never seen, its training images from others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import scipy
import torch
from datasets import Dataset
from torch.nn import functional as F
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import Attack
from excise.attacks.rules import Scores, auc_result
from excise.data.classes import ClassSets
from excise.evaluation.classes import class_logits
from excise.report.attacks import AttackResult
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
        for part in fields(self):
            losses = np.asarray(getattr(self, part.name), dtype=np.float64)
            if losses.ndim != 1 or len(losses) == 0:
                raise ValueError(
                    f"`{part.name}` has shape {losses.shape}; expected one loss for each of at least one example."
                )
            if broken := int((~np.isfinite(losses)).sum()):
                raise ValueError(
                    f"`{part.name}` has {broken} of {len(losses)} losses that are not finite. The model has diverged, "
                    "or its losses overflow: compute them in fp32."
                )
            object.__setattr__(self, part.name, losses)


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
    from sklearn.metrics import balanced_accuracy_score

    features, truth = _labelled(losses.forget_test, losses.heldout_test)
    return float(balanced_accuracy_score(truth, _attacker(losses).predict(features)))


def _attacker(losses: ClassLosses) -> Any:
    """A logistic regression that has learnt from the validation losses."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    attacker = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    return attacker.fit(*_labelled(losses.forget_validation, losses.heldout_validation))


def _labelled(forget: np.ndarray, heldout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses as features, `(examples, 1)`, and whether each is of the forgotten class."""
    return np.concatenate([forget, heldout])[:, None], np.repeat([1, 0], [len(forget), len(heldout)])


def _interval(values: list[float]) -> Interval | None:
    if len(values) < 2:
        return None
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return Interval(max(0.0, float(np.mean(values) - half)), min(1.0, float(np.mean(values) + half)))


UNSEEN, ITSELF = "a class never seen", "a model that never saw the class"


@dataclass(frozen=True)
class ClassSeen(Attack):
    """Tells from losses whether a model was trained on the forgotten class: `class_membership_inference` as an attack.

    The losses of the class's held-out images are told from those of a class that no model was trained on, as in the
    paper; two classes may differ in themselves, so the null is the model that never saw the forgotten class either. And
    they are told from the losses of that model on the same images, where chance is a half. The attacker learns from one
    half of the images which losses are the larger ones, and is tested on the other (`auc_result` states the rule);
    `details` have its accuracy.

    Attributes:
        unseen: images of a class that is among the model's and that it was never trained on, with their `label`.
        most: the most images of either kind, drawn by the sets' seed.

    Source: *Unlearning via Sparse Representations*, appendix D.
    """

    name = "class membership"
    about = "From how sure the model is of the class's images it is told whether it was trained on any."

    unseen: Dataset | None = field(default=None, repr=False, compare=False)
    most: int = 500

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        require("attacks", purpose="ClassSeen")
        if sets.of_texts:
            return AttackResult.not_measured(self.name, "auc", "These are sets of texts; the attack looks at images.")
        if self.unseen is None and never_saw is None:
            why = "There is neither a class that was never seen (`unseen`) nor a model that never saw the class."
            return AttackResult.not_measured(self.name, "auc", why)
        rows = [drawn(sets, part, self.most) for part in (sets.topic.heldout, self.unseen) if part is not None]
        if few := [len(part) for part in rows if len(part) < 2]:
            why = (
                f"There are {few[0]} images of a class; the attacker needs some to learn from and some to be tested on."
            )
            return AttackResult.not_measured(self.name, "auc", why)
        models = {"removed": removed, "never_saw": never_saw, "original": original}
        known = {name: class_losses(model, sets, rows[0]) for name, model in models.items() if model is not None}
        attempts: list[Any] = []
        accuracy: dict[str, dict[str, float | None]] = {}
        if self.unseen is not None:
            of_unseen = {name: class_losses(models[name], sets, rows[1]) for name in known}  # type: ignore[arg-type]
            told = {name: _told(losses, of_unseen[name]) for name, losses in known.items()}
            attempts.append(({"against": UNSEEN}, *(told.get(name, (None,))[0] for name in models)))
            accuracy[UNSEEN] = {name: of[1] for name, of in told.items()}
        if never_saw is not None:
            told = {name: _told(losses, known["never_saw"]) for name, losses in known.items() if name != "never_saw"}
            attempts.append(({"against": ITSELF}, told["removed"][0], None, told.get("original", (None,))[0]))
            accuracy[ITSELF] = {name: of[1] for name, of in told.items()}
        return auc_result(self.name, attempts, attacker_accuracy=accuracy)


@dataclass(frozen=True)
class ExampleMembership(Attack):
    """Tells the images that a class was learnt from (`target`) from such as no model was trained on (`heldout`).

    By their losses, which are smaller for what was learnt by heart. What counts is the difference to the model that
    never saw the class (`auc_result` states the rule).

    Attributes:
        most: the most images of either kind, drawn by the sets' seed.

    Source: Yeom et al., *Privacy Risk in Machine Learning* (2018).
    """

    name = "example membership"
    about = "Images that the model was trained on are told from others of the class by how well it knows them."

    most: int = 500

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        if sets.of_texts:
            return AttackResult.not_measured(self.name, "auc", "These are sets of texts; the attack looks at images.")
        rows = [drawn(sets, part, self.most) for part in (sets.topic.target, sets.topic.heldout)]

        def scores(model: PreTrainedModel) -> Scores:
            return Scores(*(-class_losses(model, sets, part) for part in rows))

        null, of_original = (None if model is None else scores(model) for model in (never_saw, original))
        attempt = {"how": "loss"}, scores(removed), null, of_original
        return auc_result(self.name, [attempt], examples=[len(part) for part in rows])


def _told(losses: np.ndarray, others: np.ndarray) -> tuple[Scores, float | None]:
    """Scores of the test half, by the direction that the attacker learnt on the other, and the attacker's accuracy."""
    if not (np.isfinite(losses).all() and np.isfinite(others).all()):
        return Scores(-losses, -others), None
    halves = ClassLosses(losses[::2], others[::2], losses[1::2], others[1::2])
    larger = np.sign(_attacker(halves)[-1].coef_[0, 0]) or -1.0  # of losses that are the same, what is known is smaller
    return Scores(larger * halves.forget_test, larger * halves.heldout_test), _attack(halves)


def drawn(sets: AttackSets, rows: Dataset, most: int) -> Dataset:
    """So many rows at most, drawn by the sets' seed."""
    return sets.draw(min(most, len(rows)), 0, rows)


def class_losses(model: PreTrainedModel, sets: AttackSets, rows: Dataset) -> np.ndarray:
    """The cross-entropy of each image's own class, `(images,)`; of a CLIP, among the names of all classes.

    Args:
        model: a CLIP or an image classifier; left as it was.
        sets: processor, classes and templates.
        rows: images and their `label`.
    """
    topic = sets.topic
    if not isinstance(topic, ClassSets):
        raise ValueError(f"The topic is a {type(topic).__name__}; losses of classes are of sets of `class_sets`.")
    options: dict[str, Any] = {"templates": sets.templates, "batch_size": sets.batch_size}
    names, logits = class_logits(model, sets.processor, rows, topic.classes, **options)
    wanted = torch.tensor([names.index(topic.classes[label]) for label in rows["label"]], dtype=torch.int64)
    return F.cross_entropy(logits, wanted, reduction="none").double().numpy()
