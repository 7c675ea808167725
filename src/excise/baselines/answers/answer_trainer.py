"""Trainer of baselines on answers: a batch to forget and a batch to keep each step, and losses epoch by epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from excise.baselines.answers.answer_pairs import AnswerPairs, AnswerRow, padded, parts
from excise.baselines.answers.objective import AnswerObjective, AnswerStep, logits_of
from excise.baselines.history import Epoch, now
from excise.data.batches import longest_first
from excise.data.questions.answer_tokens import answer_losses
from excise.models.activations import eval_mode


class AnswerTrainer(Trainer):
    """A `Trainer` of pairs of answers, which minimises an objective of both.

    Args:
        objective: what is minimised.
        reference: the model as it was, where the objective needs it; it is not trained.
        model: what is trained.
        args: as for any `Trainer`.
        train_dataset: the pairs.
        data_collator: makes a batch of them, as `collated` does.
        callbacks: as for any `Trainer`.

    Raises:
        ValueError: while it trains, if a loss is no finite number.
    """

    loss_is_scaled_for_ga = False  # means over a batch

    def __init__(
        self,
        *,
        objective: AnswerObjective,
        reference: PreTrainedModel | None,
        model: PreTrainedModel,
        args: TrainingArguments,
        train_dataset: AnswerPairs,
        data_collator: Callable[..., Any],
        callbacks: list[TrainerCallback],
    ):
        super().__init__(model, args, data_collator, train_dataset, callbacks=callbacks)
        self.objective: AnswerObjective = objective
        self.reference = reference if reference is None else cast(Any, reference).to(args.device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        forget, retain, instead = parts(inputs)
        student = cast(PreTrainedModel, self.accelerator.unwrap_model(model))
        step = AnswerStep(model, student, self.reference, forget, retain, instead, self.args.seed)
        loss = self.objective.loss(step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(diverged(self.objective.name, value, self.state.global_step, self.state.max_steps))
        return loss


def diverged(name: str, loss: float, steps: int, most: int) -> str:
    """What is said of a training whose loss is no finite number."""
    return (
        f"{name} has diverged: after {steps} of {most} steps a loss is {loss}. Lower the learning rate (`args`), the "
        "number of epochs or `gamma`. The model that was given is as it was."
    )


@torch.no_grad()
def mean_loss(model: PreTrainedModel, rows: Sequence[AnswerRow], padding: int, batch_size: int) -> float:
    """The mean loss of the tokens of answers, in eval mode."""
    order = longest_first([row.input_ids for row in rows])
    total, tokens = 0.0, 0
    with eval_mode(model):
        for start in range(0, len(rows), batch_size):
            batch = padded([rows[number] for number in order[start : start + batch_size]], padding)
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            losses, counts = answer_losses(logits_of(model, batch), batch["labels"])
            total, tokens = total + float(losses.double().sum()), tokens + int(counts.sum())
    return total / tokens


class AnswerHistory(TrainerCallback):
    """Records the losses of answers before a training and after every epoch, and how long it trained.

    Args:
        name: of the method, for messages.
        sets: rows by what they are called.
        padding: the token that fills rows up.

    Raises:
        ValueError: while it trains, if a loss is no finite number, or nothing would be learnt.
    """

    def __init__(self, name: str, sets: Mapping[str, Sequence[AnswerRow]], padding: int):
        self.name, self.sets, self.padding = name, dict(sets), padding
        self.epochs: list[Epoch] = []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        if state.max_steps == 1 and args.get_warmup_steps(1):
            raise ValueError(
                f"{self.name} would train one step, at a learning rate of 0, as it warms up first: nothing would "
                "change. Give `args` more epochs, a smaller batch, or no warm-up."
            )
        self.epochs, self.seconds = [], 0.0
        self._record(args, state, model)

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.started = now()

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self.seconds += now() - self.started
        self._record(args, state, model)

    def _record(self, args: TrainingArguments, state: Any, model: PreTrainedModel) -> None:
        size = args.per_device_eval_batch_size
        losses = {name: mean_loss(model, rows, self.padding, size) for name, rows in self.sets.items()}
        if broken := [value for value in losses.values() if not math.isfinite(value)]:
            raise ValueError(diverged(self.name, broken[0], state.global_step, state.max_steps))
        self.epochs.append(Epoch(len(self.epochs), self.seconds, {}, losses))
