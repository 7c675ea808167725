"""Distillation by SCRUB: a student that disobeys its teacher on some examples and obeys on the others."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, default_data_collator

from excise.baselines.checks import check_classifier
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.hyperparameters import SCRUB
from excise.baselines.training import Checkpoint, load_checkpoint, save_checkpoint, train
from excise.evaluation.predictions import Collator, model_columns
from excise.storage.expected import expects

# Weights of the divergence and of the task loss on the retain set, and the temperature of both divergences: what the
# authors of SCRUB set in their experiments on membership (`MIA_experiments.ipynb` of github.com/meghdadk/SCRUB).
ALPHA, GAMMA, TEMPERATURE = 0.5, 1.0, 4.0


def teacher_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """The Kullback-Leibler divergence KL(teacher || student) of classes, averaged over examples.

    Args:
        student: logits, `(batch, num_labels)`.
        teacher: logits, `(batch, num_labels)`.
        temperature: both are divided by it, and the divergence is multiplied by its square, which keeps the size of
            the gradients (Hinton et al., 2015).

    Returns:
        Nats, a scalar.

    Example:
        >>> round(teacher_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0]]).log()).item(), 4)
        0.1308

    Source: Kurmanji et al. (2023), the divergence that SCRUB raises and lowers.
    """
    of_student, of_teacher = ((logits.float() / temperature).log_softmax(-1) for logits in (student, teacher))
    return temperature**2 * F.kl_div(of_student, of_teacher, reduction="batchmean", log_target=True)


class Passes:
    """What a `Trainer` goes through in an epoch: the forget set, in the first `msteps` epochs, and then the retain set.

    Batches of the forget set are marked by `forget`, which is true.
    """

    def __init__(self, forget: DataLoader, retain: DataLoader, msteps: int):
        self.forget = forget
        self.retain = retain
        self.msteps = msteps
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        for loader in (self.forget, self.retain):
            loader.set_epoch(epoch)  # type: ignore[attr-defined]  # those that accelerate prepared have it

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
        temperature: of the divergences.
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
        temperature: float,
        model: PreTrainedModel,
        args: TrainingArguments,
        train_dataset: Dataset,
        data_collator: Collator,
        callbacks: list[TrainerCallback],
    ):
        super().__init__(model, args, data_collator, train_dataset, callbacks=callbacks)
        self.teacher = teacher.to(args.device)  # type: ignore[arg-type]  # transformers hides that `to` is a method
        self.forget = model_columns(forget, model)
        self.msteps = msteps
        self.alpha = alpha
        self.gamma = gamma
        self.temperature = temperature

    def get_train_dataloader(self) -> Passes:  # type: ignore[override]  # it has what a Trainer uses of a loader
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

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        inputs = dict(inputs)
        disobey = inputs.pop("forget", False)
        with torch.no_grad():
            target = self.teacher(**{name: value for name, value in inputs.items() if name != "labels"}).logits
        task, outputs = super().compute_loss(model, inputs, return_outputs=True)
        divergence = teacher_divergence(outputs.logits, target, self.temperature)
        return -divergence if disobey else self.alpha * divergence + self.gamma * task


def distil(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments | None,
    msteps: int,
    alpha: float,
    gamma: float,
    temperature: float,
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
    if not 0 < temperature < float("inf"):
        raise ValueError(f"`temperature` is {temperature}; it must be a finite number above 0; the authors have 4.")
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
    settings: dict[str, Any] = {"msteps": msteps, "alpha": alpha, "gamma": gamma, "temperature": temperature}
    trainer = partial(DistillationTrainer, teacher=teacher, forget=forget, **settings)
    train(student, retain, args, [history, *callbacks], data_collator, trainer)
    return student


@expects("model", forget="rows", retain="rows")
def scrub(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments | None = None,
    *,
    msteps: int = SCRUB["cifar10"].msteps,
    alpha: float = ALPHA,
    gamma: float = GAMMA,
    temperature: float = TEMPERATURE,
    stop_early: bool = True,
    tolerance: float = 0.0,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> BaselineRun:
    """Unlearns with SCRUB, on a copy of a model.

    An epoch is a pass of max-steps through the forget set, in the first `msteps` epochs, and a pass of min-steps
    through the retain set. The training stops when nothing of the forget set is classified right any more and the
    retain set is classified as well as before, or at the end of `args`' epochs. Then the model is that of the epoch in
    which the retain set's accuracy was highest while the forget set's was 0, or of the last epoch, if there was none:
    `run.accuracy["forget"]` tells.

    In its first max-step the student still is the teacher, where the divergence is smallest: its gradient is 0 but for
    rounding, which Adam makes a step of. So it is by SCRUB's definition.

    Args:
        model: a classifier; it stays as it is. A copy of it is the teacher.
        forget: training examples to forget.
        retain: training examples to keep.
        args: as for any `Trainer`; nothing is written to `output_dir`. Table 6's for CIFAR-10 if not given;
            `hyperparameters` has the others.
        msteps: epochs that have max-steps. The paper tunes it for the retain set's accuracy.
        alpha: weight of the divergence on the retain set. The paper states none of the three; these are those of
            SCRUB's authors, of their experiments on membership (`MIA_experiments.ipynb` of github.com/meghdadk/SCRUB).
        gamma: weight of the task loss on the retain set.
        temperature: that logits are divided by in both divergences.
        stop_early: stop as described; section 5.4 goes on to the last epoch.
        tolerance: how far the retain set's accuracy may be below the first and still count as "without damaging" it.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name. Epochs are
            judged by those called `forget` and `retain`: the training sets if they are not given. The paper takes the
            test sets; numbers reported of a set that was chosen by are too good.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: if a data set is empty or has other labels than the model, the model does not classify, a weight or
            number is out of range, `evaluate_on` lacks a set, or `args` ask for another length than whole epochs, or
            accumulate gradients, which would mix max-steps with min-steps.

    Example:
        run = scrub(model, forget, retain, hyperparameters.SCRUB["cifar100"].arguments(), msteps=9)

    Source: *Unlearning via Sparse Representations*, section 2, appendix E.3 and table 6; Kurmanji et al. (2023).
    """
    if tolerance < 0:
        raise ValueError(f"`tolerance` is {tolerance}; it must be at least 0, as 0.01 for one point in a hundred.")
    sets = {"forget": forget, "retain": retain} if evaluate_on is None else dict(evaluate_on)
    if not {"forget", "retain"} <= set(sets):
        raise ValueError(f"`evaluate_on` has {sorted(sets)}; it must have `forget` and `retain`, to judge epochs by.")
    history = EpochHistory(sets, data_collator)
    best = Forgotten(history, stop_early, tolerance)
    student = distil(model, forget, retain, args, msteps, alpha, gamma, temperature, history, [best], data_collator)
    epoch = len(history.epochs) - 1
    if best.checkpoint is not None:
        load_checkpoint(student, best.checkpoint)
        epoch = best.epoch
    return BaselineRun(student, tuple(history.epochs), epoch)


class Forgotten(TrainerCallback):
    """Keeps the best epoch in which nothing of the forget set was classified right, and may stop the training there.

    Args:
        history: where accuracies on `forget` and `retain` are recorded, before this is called.
        stop: stop when the retain set is as well classified as at first.
        tolerance: how far below the first that may be.
    """

    def __init__(self, history: EpochHistory, stop: bool, tolerance: float):
        self.history = history
        self.stop = stop
        self.tolerance = tolerance
        self.checkpoint: Checkpoint | None = None
        self.epoch = 0

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        first, last = self.history.epochs[0].accuracy, self.history.epochs[-1].accuracy
        if last["forget"] > 0:
            return
        if self.checkpoint is None or last["retain"] > self.history.epochs[self.epoch].accuracy["retain"]:
            self.checkpoint = save_checkpoint(model)
            self.epoch = self.history.epochs[-1].number
        if self.stop and last["retain"] >= first["retain"] - self.tolerance:
            control.should_training_stop = True
