"""Rewinding of SCRUB (SCRUB+R) to the epoch that had forgotten just enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments, default_data_collator

from excise.baselines.checks import check_classifier
from excise.baselines.distillation import distil
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.hyperparameters import SCRUB
from excise.baselines.training import Checkpoint, load_checkpoint, save_checkpoint
from excise.evaluation.predictions import Collator, accuracy
from excise.storage.expected import expects


@dataclass(frozen=True)
class RewoundRun(BaselineRun):
    """What SCRUB+R gives.

    Attributes:
        reference: the reference point, the last epoch's error on the validation set.
        errors: the error on the forget set after each epoch; that of `epoch` is nearest to the reference.
    """

    reference: float
    errors: tuple[float, ...]


@expects("model", forget="rows", retain="rows")
def scrub_rewind(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    validation: Dataset,
    args: TrainingArguments | None = None,
    *,
    msteps: int = SCRUB["cifar10"].msteps,
    alpha: float = 0.5,
    gamma: float = 1.0,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> RewoundRun:
    """Unlearns with SCRUB, on a copy of a model, no further than examples that were never seen suggest.

    SCRUB runs to its last epoch. What it then gets wrong of a validation set that is distributed as the forget set is,
    is the reference point: about the error of a model that was never trained on the forget set. The model is that of
    the epoch whose error on the forget set is nearest to it, the latest of those equally near. An error that is no
    larger than that of unseen examples gives an attacker less to infer membership from.

    Args:
        model: a classifier; it stays as it is. A copy of it is the teacher.
        forget: training examples to forget.
        retain: training examples to keep.
        validation: examples distributed as the forget set, that the model was not trained on: of a class to forget,
            unseen examples of that class.
        args: as in `scrub`.
        msteps: epochs that have max-steps.
        alpha: weight of the divergence on the retain set.
        gamma: weight of the task loss on the retain set.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: as `scrub`.

    Example:
        run = scrub_rewind(model, forget, retain, forget_validation)

    Source: *Unlearning via Sparse Representations*, appendix D; Kurmanji et al. (2023), SCRUB and rewind.
    """
    check_classifier(model, {"validation": validation}, {}, data_collator)
    history = EpochHistory(evaluate_on or {}, data_collator)
    kept = EveryEpoch()
    student = distil(model, forget, retain, args, msteps, alpha, gamma, history, [kept], data_collator)
    reference = 1 - accuracy(student, validation, data_collator=data_collator)
    errors = []
    for checkpoint in kept.checkpoints:
        load_checkpoint(student, checkpoint)
        errors.append(1 - accuracy(student, forget, data_collator=data_collator))
    epoch = nearest(errors, reference)
    load_checkpoint(student, kept.checkpoints[epoch - 1])
    return RewoundRun(student, tuple(history.epochs), epoch, reference, tuple(errors))


def nearest(errors: Sequence[float], reference: float) -> int:
    """The epoch, from 1, whose error is nearest to a reference; the latest of those equally near.

    Example:
        >>> nearest([0.1, 0.5, 0.5, 0.9], reference=0.55)
        3
    """
    return min(range(len(errors), 0, -1), key=lambda epoch: abs(errors[epoch - 1] - reference))


class EveryEpoch(TrainerCallback):
    """Keeps the weights after every epoch."""

    def __init__(self):
        self.checkpoints: list[Checkpoint] = []

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self.checkpoints.append(save_checkpoint(model))
