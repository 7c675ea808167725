"""Rewinding of SCRUB (SCRUB+R) to the point that had forgotten just enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments, default_data_collator

from excise.attacks.partial_forgetting import distance
from excise.baselines.checks import check_classifier
from excise.baselines.distillation import ALPHA, GAMMA, TEMPERATURE, distil
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.hyperparameters import SCRUB
from excise.baselines.training import Checkpoint, load_checkpoint, save_checkpoint
from excise.evaluation.predictions import Collator, accuracy, example_losses
from excise.storage.expected import expects

Rule = Literal["error", "loss", "attack"]
RULES: tuple[Rule, ...] = ("error", "loss", "attack")


@dataclass(frozen=True)
class Candidate:
    """A point of the training that may be rewound to.

    Attributes:
        epoch: whole epochs that were done by then; 0 of the original model.
        step: steps of the optimizer that were done by then.
        error: the error on the forget set.
        distance: what the rule makes smallest.
    """

    epoch: int
    step: int
    error: float
    distance: float


@dataclass(frozen=True, repr=False)
class RewoundRun(BaselineRun):
    """What SCRUB+R gives. Of a point within an epoch, `epoch` is the last whole one before it.

    Attributes:
        reference: the reference point, the last epoch's error on the validation set.
        errors: the error on the forget set after each epoch.
        candidates: all points that could be rewound to, the original model first.
        chosen: the one whose weights `model` has.
        measured: the accuracies of `model`, by data set.
    """

    reference: float
    errors: tuple[float, ...]
    candidates: tuple[Candidate, ...] = ()
    chosen: Candidate | None = None
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> Mapping[str, float]:
        """The accuracies of `model`, by data set."""
        return self.measured


@expects("model", forget="rows", retain="rows")
def scrub_rewind(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    validation: Dataset,
    args: TrainingArguments | None = None,
    *,
    rule: Rule = "error",
    unseen: Dataset | None = None,
    per_epoch: int = 1,
    msteps: int = SCRUB["cifar10"].msteps,
    alpha: float = ALPHA,
    gamma: float = GAMMA,
    temperature: float = TEMPERATURE,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> RewoundRun:
    """Unlearns with SCRUB, on a copy of a model, no further than examples that were never seen suggest.

    SCRUB runs to its last epoch. Candidates are the original model, the model after every epoch and, if asked for,
    points within epochs. A rule chooses one, the earliest of those that are equally good:

    - `"error"`, its authors': what the last model gets wrong of a validation set that is distributed as the forget set
      is, is the reference point, about the error of a model that was never trained on the forget set. The candidate is
      taken whose error on the forget set is nearest to it.
    - `"loss"` and `"attack"`, as `excise.attacks.choose_partial` chooses for key-value pairs: the candidate whose
      losses on the validation set are most like those on a class that was never seen.

    An error that is no larger than that of unseen examples gives an attacker less to infer membership from.

    Args:
        model: a classifier; it stays as it is. A copy of it is the teacher.
        forget: training examples to forget.
        retain: training examples to keep.
        validation: examples distributed as the forget set, that the model was not trained on: of a class to forget,
            unseen examples of that class.
        args: as in `scrub`.
        rule: what chooses.
        unseen: for `"loss"` and `"attack"`, examples of a class of the model that it was never trained on. What is
            measured of the two classes afterwards is to be measured on others.
        per_epoch: points of an epoch that are candidates, its end and others evenly spread; the weights of all are
            held in memory. SCRUB's authors have 1.
        msteps: epochs that have max-steps.
        alpha: weight of the divergence on the retain set; its default, and the next two, are as in `scrub`.
        gamma: weight of the task loss on the retain set.
        temperature: that logits are divided by in both divergences.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name.
        data_collator: makes a batch of rows.

    Raises:
        MissingExtraError: by the rule `"attack"`, if the extra `attacks` is not installed.
        ValueError: as `scrub`; and if there is no such rule, its `unseen` is missing, or `per_epoch` is below 1.

    Example:
        run = scrub_rewind(model, forget, retain, forget_validation, rule="loss", unseen=unseen_class, per_epoch=10)

    Source: *Unlearning via Sparse Representations*, appendix D; Kurmanji et al. (2023), SCRUB and rewind, and their
    code (`MIA_experiments.ipynb` of github.com/meghdadk/SCRUB), where the original model is a candidate and the first
    of equally near ones is taken.
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r}: expected 'error' (the authors'), 'loss' or 'attack'.")
    if (rule == "error") != (unseen is None):
        needed = "takes no `unseen`" if rule == "error" else "needs `unseen`, examples of a class that was never seen"
        raise ValueError(f"The rule {rule!r} {needed}.")
    if per_epoch < 1:
        raise ValueError(f"per_epoch={per_epoch}: expected at least 1, the end of each epoch.")
    others = {} if unseen is None else {"unseen": unseen}
    check_classifier(model, {"validation": validation, **others}, {}, data_collator)
    datasets = dict(evaluate_on or {})
    history = EpochHistory(datasets, data_collator)
    kept = Points(per_epoch)
    student = distil(model, forget, retain, args, msteps, alpha, gamma, temperature, history, [kept], data_collator)
    reference = 1 - accuracy(student, validation, data_collator=data_collator)

    def candidate(point: Point) -> Candidate:
        load_checkpoint(student, point.weights)
        error = 1 - accuracy(student, forget, data_collator=data_collator)
        if rule == "error" or unseen is None:
            return Candidate(point.epoch, point.step, error, abs(error - reference))
        losses = [example_losses(student, rows, data_collator=data_collator) for rows in (validation, unseen)]
        return Candidate(point.epoch, point.step, error, distance(losses[0], losses[1], rule))

    candidates = tuple(candidate(point) for point in kept.points)
    place = earliest_nearest([each.distance for each in candidates])
    load_checkpoint(student, kept.points[place].weights)
    chosen = candidates[place]
    if kept.points[place].whole:
        measured = history.epochs[chosen.epoch].accuracy
    else:
        measured = {name: accuracy(student, rows, data_collator=data_collator) for name, rows in datasets.items()}
    whole = zip(kept.points[1:], candidates[1:], strict=True)
    errors = tuple(found.error for point, found in whole if point.whole)
    return RewoundRun(student, tuple(history.epochs), chosen.epoch, reference, errors, candidates, chosen, measured)


def earliest_nearest(distances: Sequence[float]) -> int:
    """Where the smallest distance is, the first of those equally small.

    Example:
        >>> earliest_nearest([0.6, 0.2, 0.1, 0.1])
        2
    """
    return min(range(len(distances)), key=lambda place: distances[place])


@dataclass(frozen=True)
class Point:
    """The weights at a point of a training: after so many whole epochs and steps, at the end of an epoch or not."""

    epoch: int
    step: int
    whole: bool
    weights: Checkpoint


class Points(TrainerCallback):
    """Keeps the weights before a training, after every epoch, and at points within.

    Args:
        per_epoch: points of the longest epoch, its end among them.
    """

    def __init__(self, per_epoch: int):
        self.per_epoch = per_epoch
        self.points: list[Point] = []
        self.done = self.interval = 0

    def on_train_begin(self, args, state, control, model=None, train_dataloader=None, **kwargs):
        self.points, self.done = [Point(0, 0, True, save_checkpoint(model))], 0
        self.interval = max(1, -(-len(train_dataloader) // self.per_epoch))

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.first = state.global_step

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if self.per_epoch > 1 and (state.global_step - self.first) % self.interval == 0:
            self.points.append(Point(self.done, state.global_step, False, save_checkpoint(model)))

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self.done += 1
        if self.points[-1].step == state.global_step:  # the last step was a point already
            self.points.pop()
        self.points.append(Point(self.done, state.global_step, True, save_checkpoint(model)))
