"""Negative gradient (NegGrad+): descent on what is to be kept and ascent on what is to be forgotten, at once."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from excise.baselines.checks import check_classifier
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.text_training import forget_texts
from excise.baselines.training import train
from excise.evaluation.predictions import Collator, model_columns
from excise.storage.expected import expects


@expects("model", forget="rows", retain="rows")
def gradient_difference(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments,
    *,
    alpha: float = 0.95,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
    tokenizer: PreTrainedTokenizerBase | None = None,
    validation: Dataset | None = None,
    budget: float = 0.1,
) -> BaselineRun:
    """Trains a copy of a model to lose `alpha * loss(retain) - (1 - alpha) * loss(forget)`.

    Of a classifier, an epoch is a pass through the retain set; each of its batches comes with one of as many forget
    examples, which are gone through again and again. The loss has no lower bound: too small an `alpha` or too long a
    training destroys the model, and the history shows it.

    Of a model that reads a text and writes another, for which a `tokenizer` is given, an epoch is a pass through the
    forget set, each example with a retain example drawn at random; `run.model` is that of the epoch which has forgotten
    most within a budget: the loss on the forget set is largest, of those epochs (and the model as it was) after which
    the perplexity on the validation set has grown by no more than `budget`.

    Args:
        model: a classifier, or a model that writes texts, with or without bottlenecks; it stays as it is.
        forget: training examples to forget. Of texts, rows with `text` and `reference`, as a topic's `target`, or with
            `input_ids` and `labels`.
        retain: training examples to keep, likewise.
        args: as for any `Trainer`; nothing is written to `output_dir`.
        alpha: weight of the retain set, between 0 and 1; with 1 it is `finetune`. 0.95 is Kurmanji et al.'s in their
            small experiments; 0.5 is OpenUnlearning's, whose weights are 1 and 1.
        evaluate_on: data sets whose accuracy, or loss, is recorded before the training and after every epoch, by name.
        data_collator: makes a batch of rows; of classifiers only.
        tokenizer: the model's, where it writes texts.
        validation: of texts, examples to keep that it is not trained on; a tenth of `retain` is set aside for it if not
            given.
        budget: of texts, by which share the perplexity on them may grow.

    Raises:
        ValueError: if a data set is empty or has other labels than the model or other columns, the model neither
            classifies nor writes texts, or `alpha` or `budget` is out of range.

    Example:
        run = gradient_difference(model, forget, retain, args, evaluate_on={"forget": forget_test})
        run = gradient_difference(t5, topic.target, topic.retain, args, tokenizer=tokenizer)

    Source: *Unlearning via Sparse Representations*, section 2; Golatkar et al. (2020a); NegGrad+ of Kurmanji et al.
    (2023); of texts, Maini et al. (2024), TOFU, and OpenUnlearning (src/trainer/unlearn/grad_diff.py).
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` is {alpha}; it must be between 0 (ascent only) and 1 (descent only).")
    if tokenizer is not None:

        def objective(
            kept: Tensor, losses: Float[Tensor, "batch"], counts: Int[Tensor, "batch"], before: Float[Tensor, "batch"]
        ) -> Tensor:
            return alpha * kept - (1 - alpha) * losses.sum() / counts.sum()

        return forget_texts(model, forget, retain, args, objective, tokenizer, validation, budget, evaluate_on)
    if model.config.is_encoder_decoder:
        raise ValueError(f"{type(model).__name__} writes texts: give its `tokenizer`, too.")
    sets = dict(evaluate_on or {})
    check_classifier(model, {"forget": forget, "retain": retain}, sets, data_collator)
    history = EpochHistory(sets, data_collator)
    student = copy.deepcopy(model)
    pairs = Pairs(model_columns(retain, model), model_columns(forget, model))
    train(
        student, pairs, args, [history], partial(collate_pairs, collate=data_collator), partial(Difference, alpha=alpha)
    )
    return BaselineRun(student, tuple(history.epochs), len(history.epochs) - 1)


class Pairs(torch.utils.data.Dataset):
    """Each retain example with a forget example, which come round evenly."""

    def __init__(self, retain: Dataset, forget: Dataset):
        self.retain = retain
        self.forget = forget

    def __len__(self) -> int:
        return len(self.retain)

    def __getitems__(self, rows: list[int]) -> list[tuple[dict, dict]]:
        """Rows together, which a `Dataset` reads faster than one by one."""
        forget = self.forget.__getitems__([row % len(self.forget) for row in rows])
        return list(zip(self.retain.__getitems__(rows), forget, strict=True))

    def __getitem__(self, row: int) -> tuple[dict, dict]:
        return self.__getitems__([row])[0]


def collate_pairs(pairs: list[tuple[dict, dict]], collate: Collator) -> dict[str, Any]:
    """A batch of retain examples that has a batch of forget examples at `forget`."""
    retain, forget = zip(*pairs, strict=True)
    return {**collate(list(retain)), "forget": collate(list(forget))}


class Difference(Trainer):
    """A `Trainer` of pairs, which climbs on the forget examples as it descends on the others."""

    loss_is_scaled_for_ga = False  # means over a batch

    def __init__(
        self,
        *,
        alpha: float,
        model: PreTrainedModel,
        args: TrainingArguments,
        train_dataset: Pairs,
        data_collator: Collator,
        callbacks: list[TrainerCallback],
    ):
        super().__init__(model, args, data_collator, train_dataset, callbacks=callbacks)
        self.alpha = alpha

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        inputs = dict(inputs)
        forget = inputs.pop("forget")
        kept, lost = (cast(Tensor, super(Difference, self).compute_loss(model, batch)) for batch in (inputs, forget))
        return self.alpha * kept - (1 - self.alpha) * lost
