"""SCRUB's training: a student that disobeys its teacher on some examples and obeys on the others."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from excise.baselines.checks import check_classifier
from excise.baselines.history import EpochHistory
from excise.baselines.hyperparameters import SCRUB
from excise.baselines.training import train
from excise.predictions import Collator


def teacher_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """The Kullback-Leibler divergence KL(teacher || student) of classes, averaged over examples.

    Args:
        student: logits, `(batch, num_labels)`.
        teacher: logits, `(batch, num_labels)`.

    Returns:
        Nats, a scalar.

    Example:
        >>> round(teacher_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0]]).log()).item(), 4)
        0.1308

    Source: Kurmanji et al. (2023), the divergence that SCRUB raises and lowers.
    """
    return F.kl_div(
        student.float().log_softmax(-1), teacher.float().log_softmax(-1), reduction="batchmean", log_target=True
    )


class Passes:
    """What a `Trainer` goes through in an epoch: the forget set, in the first `msteps` epochs, and then the retain set.

    Batches of the forget set are marked by `forget`, which is true.
    """

    def __init__(self, forget: Iterable[dict], retain: Iterable[dict], msteps: int):
        self.forget = forget
        self.retain = retain
        self.msteps = msteps
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        for loader in (self.forget, self.retain):
            loader.set_epoch(epoch)

    def __len__(self) -> int:
        return (len(self.forget) if self.msteps else 0) + len(self.retain)  # of the longest epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.epoch < self.msteps:
            for batch in self.forget:
                yield {**batch, "forget": True}
        yield from self.retain


class DistillationTrainer(Trainer):
    """A `Trainer` whose steps are SCRUB's.

    A max-step raises KL(teacher || student) on a batch of the forget set. A min-step lowers `alpha` times that plus
    `gamma` times the task loss on a batch of the retain set. An epoch is a pass of max-steps, in the first `msteps`
    epochs, and then a pass of min-steps, in the order of Kurmanji et al. (2023).

    Args:
        teacher: the original model; it is not trained.
        forget: the forget set. The retain set is `train_dataset`.
        msteps: epochs that have max-steps.
        alpha: weight of the divergence in a min-step.
        gamma: weight of the task loss in a min-step.
        model: the student.
        args: as `Trainer`'s, as all that follows.
        train_dataset: the retain set.
        data_collator: makes a batch of rows.
        callbacks: the callbacks.
    """

    def __init__(
        self,
        *,
        teacher: PreTrainedModel,
        forget: Dataset,
        msteps: int,
        alpha: float,
        gamma: float,
        model,
        args,
        train_dataset,
        data_collator,
        callbacks,
    ):
        super().__init__(model, args, data_collator, train_dataset, callbacks=callbacks)
        self.teacher = teacher.to(args.device)
        self.forget = forget
        self.msteps = msteps
        self.alpha = alpha
        self.gamma = gamma

    def get_train_dataloader(self) -> Passes:
        retain = super().get_train_dataloader()
        kept, self.train_dataset = self.train_dataset, self.forget  # the one way to a loader of another set like it
        try:
            forget = super().get_train_dataloader()
        finally:
            self.train_dataset = kept
        self.passes = Passes(forget, retain, self.msteps)
        return self.passes

    def create_scheduler(self, num_training_steps, optimizer=None):
        # The Trainer counts a pass through the forget set in every epoch, so that a learning rate that falls would not
        # arrive.
        epochs = int(self.args.num_train_epochs)
        steps = epochs * len(self.passes.retain) + min(self.msteps, epochs) * len(self.passes.forget)
        return super().create_scheduler(steps, optimizer)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None) -> Tensor:
        inputs = dict(inputs)
        disobey = inputs.pop("forget", False)
        with torch.no_grad():
            target = self.teacher(**{name: value for name, value in inputs.items() if name != "labels"}).logits
        task, outputs = super().compute_loss(model, inputs, return_outputs=True)
        divergence = teacher_divergence(outputs.logits, target)
        return -divergence if disobey else self.alpha * divergence + self.gamma * task


def distil(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments | None,
    msteps: int,
    alpha: float,
    gamma: float,
    history: EpochHistory,
    callbacks: Sequence[TrainerCallback],
    data_collator: Collator,
) -> PreTrainedModel:
    """The student after SCRUB's last epoch; arguments and errors as of `scrub`. The callbacks come after `history`."""
    if msteps < 0:
        raise ValueError(f"`msteps` is {msteps}; it must be at least 0, the number of epochs that have max-steps.")
    for name, weight in (("alpha", alpha), ("gamma", gamma)):
        if not 0 <= weight < float("inf"):
            raise ValueError(f"`{name}` is {weight}; it must be a finite number, at least 0.")
    args = args or SCRUB["cifar10"].arguments()
    if args.max_steps > 0 or args.num_train_epochs < 1 or args.num_train_epochs % 1:
        raise ValueError(
            f"`max_steps` is {args.max_steps} and `num_train_epochs` {args.num_train_epochs}; SCRUB goes by epochs. "
            "Set `num_train_epochs` to a whole number, at least 1, and leave `max_steps` out."
        )
    if args.gradient_accumulation_steps > 1:
        raise ValueError(
            f"`gradient_accumulation_steps` is {args.gradient_accumulation_steps}, which would mix max-steps with "
            "min-steps. Leave it at 1 and raise `per_device_train_batch_size`."
        )
    check_classifier(model, {"forget": forget, "retain": retain}, history.datasets, data_collator)
    teacher = copy.deepcopy(model).requires_grad_(False).eval()
    student = copy.deepcopy(model)
    trainer = partial(DistillationTrainer, teacher=teacher, forget=forget, msteps=msteps, alpha=alpha, gamma=gamma)
    train(student, retain, args, [history, *callbacks], data_collator, trainer)
    return student
