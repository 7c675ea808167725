"""Training of baselines on texts: sentences to forget beside sentences to keep, until a budget is spent."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from excise.baselines.history import BaselineRun, Epoch, now
from excise.baselines.training import Checkpoint, load_checkpoint, save_checkpoint, train
from excise.bottlenecks.site import is_of_bottleneck
from excise.data.batches import tokenize, unpadded
from excise.data.reading import refuse_stream
from excise.data.truncation import tokenized
from excise.models.activations import eval_mode
from excise.training.guard import TrainingGuard

# Without a validation set, this share of the retain set tells when to stop, but no more than so many rows.
VALIDATION_SHARE, MOST_VALIDATION = 0.1, 500

Row = dict[str, Any]
# Of the retain loss, and of each forget example its loss, its number of tokens and its loss under the original.
Objective = Callable[[Tensor, Float[Tensor, "batch"], Int[Tensor, "batch"], Float[Tensor, "batch"]], Tensor]


def forget_texts(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments,
    objective: Objective,
    tokenizer: PreTrainedTokenizerBase,
    validation: Dataset | None = None,
    budget: float = 0.1,
    evaluate_on: Mapping[str, Dataset] | None = None,
) -> BaselineRun:
    """Trains a copy of a model that writes texts, and gives it as it was after the best of its epochs.

    An epoch is a pass through the forget set; each of its examples comes with one of the retain set, drawn at random.
    The rule, fixed beforehand: of the model as it was and as it is after each epoch, that one counts whose loss on the
    forget set is largest while its perplexity on the validation set has grown by no more than the budget.

    Args:
        model: a model that reads a text and writes another, with or without bottlenecks; it stays as it is.
        forget: training examples to forget: rows with `text` and `reference`, or with `input_ids` and `labels`.
        retain: training examples to keep, likewise.
        args: as for any `Trainer`; nothing is written to `output_dir`.
        objective: what is minimised.
        tokenizer: the model's.
        validation: examples to keep that it is not trained on; a tenth of `retain` is set aside for it if not given.
        budget: by which share the perplexity on them may grow.
        evaluate_on: further data sets whose loss is recorded, by name.

    Raises:
        ValueError: if the model does not write texts, a data set is empty or has other columns, or the budget is below
            0.
    """
    if budget < 0:
        raise ValueError(f"`budget` is {budget}; it must be at least 0, the share by which perplexity may grow.")
    if not model.config.is_encoder_decoder:
        raise ValueError(
            f"{type(model).__name__} does not read a text and write another; give a model with encoder and decoder, "
            "such as a T5. For a decoder there is `forget_answers`."
        )
    rows = {"forget": text_rows(forget, tokenizer, "forget"), "retain": text_rows(retain, tokenizer, "retain")}
    if validation is None:
        rows["retain"], rows["validation"] = _split(rows["retain"], args.seed)
    else:
        rows["validation"] = text_rows(validation, tokenizer, "validation")
    others = {name: text_rows(of_name, tokenizer, name) for name, of_name in (evaluate_on or {}).items()}
    student = copy.deepcopy(model)
    collator = DataCollatorForSeq2Seq(tokenizer, model=student)
    losses = example_losses(student, rows["forget"], collator, args.per_device_eval_batch_size)[0].tolist()
    pairs = DrawnPairs(rows["forget"], losses, rows["retain"], args.seed)
    history = LossHistory(rows["forget"], rows["validation"], others, collator, budget)
    callbacks: list[TrainerCallback] = [history]
    if any(is_of_bottleneck(name) for name, _ in student.named_parameters()):
        callbacks.append(TrainingGuard())
    collate = partial(collate_drawn, collate=collator)
    train(student, pairs, args, callbacks, collate, partial(ForgettingTrainer, objective=objective))
    load_checkpoint(student, history.best)
    return BaselineRun(student, tuple(history.epochs), history.epoch)


def text_rows(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, name: str) -> list[Row]:
    """The rows of a data set as `input_ids`, `attention_mask` and `labels`.

    Args:
        dataset: with the columns `text` and `reference`, or `input_ids` and `labels`.
        tokenizer: of texts that are not tokenised yet.
        name: what the set is called in messages.

    Raises:
        ValueError: if it is empty, or has neither.
    """
    refuse_stream(dataset)
    if len(dataset) == 0:
        raise ValueError(f"The {name} set is empty; give at least one row.")
    columns = set(dataset.column_names)
    if {"text", "reference"} <= columns:
        texts, references = list(dataset["text"]), list(dataset["reference"])
        if not all(isinstance(text, str) for text in (*texts, *references)):
            raise ValueError(f"The {name} set has rows whose `text` or `reference` is no text; leave them out.")
        encoded = dict(tokenized(tokenizer, texts, targets=references, what=f"texts of the {name} set"))
    elif {"input_ids", "labels"} <= columns:
        # Padding that rows were tokenised with would be learnt.
        ids, labels = tokenize(dataset, tokenizer), unpadded(dataset.with_format(None)["labels"][:], None, tokenizer)
        encoded = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": labels}
    else:
        raise ValueError(
            f"The {name} set has no `reference` beside `text`, nor `input_ids` and `labels`; its columns are "
            f"{dataset.column_names}. Give rows of topic sets that were made with a `reference` column, or tokenise "
            "them."
        )
    return [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]


def _split(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and those set aside to tell when to stop."""
    count = min(MOST_VALIDATION, math.ceil(VALIDATION_SHARE * len(rows)))
    if count == len(rows):
        raise ValueError("The retain set has one row; give at least two, or a `validation` set.")
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    return [rows[i] for i in sorted(order[count:])], [rows[i] for i in sorted(order[:count])]


class DrawnPairs(torch.utils.data.Dataset):
    """Each forget example, with its loss under the original, and a retain example that is drawn anew each time."""

    def __init__(self, forget: Sequence[Row], losses: Sequence[float], retain: Sequence[Row], seed: int):
        self.forget, self.losses, self.retain = forget, losses, retain
        self.generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.forget)

    def __getitem__(self, row: int) -> tuple[Row, Row, float]:
        return self.retain[int(self.generator.integers(len(self.retain)))], self.forget[row], self.losses[row]


def collate_drawn(drawn: list[tuple[Row, Row, float]], collate: Callable[..., Any]) -> dict[str, Any]:
    """A batch of retain examples that has one of forget examples at `forget`, and their first losses at `losses`."""
    retain, forget, losses = zip(*drawn, strict=True)
    return {**collate(list(retain)), "forget": dict(collate(list(forget))), "losses": torch.tensor(losses)}


class ForgettingTrainer(Trainer):
    """A `Trainer` of drawn pairs, which minimises an objective of the losses on both."""

    loss_is_scaled_for_ga = False  # means over a batch

    def __init__(
        self,
        *,
        objective: Objective,
        model: PreTrainedModel,
        args: TrainingArguments,
        train_dataset: DrawnPairs,
        data_collator: Callable[..., Any],
        callbacks: list[TrainerCallback],
    ):
        super().__init__(model, args, data_collator, train_dataset, callbacks=callbacks)
        self.objective: Objective = objective

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        inputs = dict(inputs)
        forget, before = inputs.pop("forget"), inputs.pop("losses")
        kept = cast(Tensor, super().compute_loss(model, inputs))
        losses, counts = sequence_losses(model(**forget).logits, forget["labels"])
        return self.objective(kept, losses, counts, before)


def sequence_losses(
    logits: Float[Tensor, "batch seq vocab"], labels: Int[Tensor, "batch seq"]
) -> tuple[Float[Tensor, "batch"], Int[Tensor, "batch"]]:
    """The negative log-likelihood of each text, summed over its tokens, and their numbers; -100 is no token.

    Example:
        >>> losses, counts = sequence_losses(torch.zeros(1, 3, 4), torch.tensor([[1, 2, -100]]))
        >>> round(losses.item(), 3), counts.item()  # twice the logarithm of four
        (2.773, 2)
    """
    losses = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=-100, reduction="none")
    return losses.sum(-1), (labels != -100).sum(-1)


@torch.no_grad()
def example_losses(
    model: PreTrainedModel, rows: Sequence[Row], collator: Callable[..., Any], batch_size: int
) -> tuple[Float[Tensor, "rows"], Int[Tensor, "rows"]]:
    """What `sequence_losses` gives for rows, in their order, in eval mode and on the CPU."""
    parts = []
    with eval_mode(model):
        for start in range(0, len(rows), batch_size):
            batch = {
                name: tensor.to(model.device)
                for name, tensor in collator([dict(row) for row in rows[start : start + batch_size]]).items()
            }
            parts.append([part.cpu() for part in sequence_losses(model(**batch).logits, batch["labels"])])
    losses, counts = (torch.cat(part) for part in zip(*parts, strict=True))
    return losses, counts


class LossHistory(TrainerCallback):
    """Records losses before a training and after every epoch, and keeps the weights of the best epoch so far.

    Args:
        forget: rows whose loss is to grow.
        validation: rows whose perplexity is not to grow by more than `budget`.
        others: further rows, by name.
        collator: makes a batch of rows.
        budget: a share.
    """

    def __init__(
        self,
        forget: Sequence[Row],
        validation: Sequence[Row],
        others: Mapping[str, Sequence[Row]],
        collator: Callable[..., Any],
        budget: float,
    ):
        self.sets = {"forget": forget, "validation": validation, **others}
        self.collator, self.budget = collator, budget
        self.epochs: list[Epoch] = []
        self.epoch = 0
        self.best: Checkpoint = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.epochs, self.epoch, self.seconds = [], 0, 0.0
        self._record(args, model)

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.started = now()

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        self.seconds += now() - self.started
        self._record(args, model)
        if not all(map(math.isfinite, self.epochs[-1].loss.values())):
            control.should_training_stop = True  # it has diverged, and will not come back

    def _record(self, args: TrainingArguments, model: PreTrainedModel) -> None:
        losses = {}
        for name, rows in self.sets.items():
            sums, counts = example_losses(model, rows, self.collator, args.per_device_eval_batch_size)
            losses[name] = float(sums.double().sum() / counts.sum())
        self.epochs.append(Epoch(len(self.epochs), self.seconds, {}, losses))
        limit = self.epochs[0].loss["validation"] + math.log1p(self.budget)
        first = len(self.epochs) == 1
        if first or (losses["validation"] <= limit and losses["forget"] > self.epochs[self.epoch].loss["forget"]):
            self.epoch, self.best = len(self.epochs) - 1, save_checkpoint(model)
