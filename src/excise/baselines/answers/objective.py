"""Objective of a baseline on answers: a loss of what is to be forgotten beside one of what is to stay."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from excise.baselines.hyperparameters import TOFU, Hyperparameters
from excise.data.questions.answer_tokens import answer_losses

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class AnswerStep:
    """One step of a training: the models, and the batches of it.

    Attributes:
        model: what is trained, as the `Trainer` runs it.
        student: the same without what the `Trainer` puts around it.
        reference: the model as it was, in eval mode, without gradients; of methods that need one.
        forget: `input_ids`, `attention_mask` and `labels` of what is to be forgotten, padded on the right.
        retain: likewise, of what is to stay.
        instead: likewise, of what is to be said instead; of methods that have that.
        seed: of the training.
    """

    model: nn.Module
    student: PreTrainedModel
    reference: PreTrainedModel | None
    forget: Batch
    retain: Batch
    instead: Batch | None = None
    seed: int = 0

    def losses(self, batch: Batch) -> tuple[Float[Tensor, "batch"], Int[Tensor, "batch"]]:
        """As `answer_losses`, of the model that is trained."""
        return answer_losses(logits_of(self.model, batch), batch["labels"])

    @torch.no_grad()
    def losses_before(self, batch: Batch) -> Float[Tensor, "batch"]:
        """The losses of answers under the model as it was."""
        return answer_losses(logits_of(self._as_it_was, batch), batch["labels"])[0]

    @torch.no_grad()
    def logits_before(self, batch: Batch) -> Float[Tensor, "batch seq vocab"]:
        """The logits of the model as it was."""
        return logits_of(self._as_it_was, batch)

    @property
    def _as_it_was(self) -> PreTrainedModel:
        if self.reference is None:
            raise ValueError("This step has no reference model; give the method `needs_reference = True`.")
        return self.reference


@dataclass(frozen=True)
class AnswerObjective:
    """What a method minimises: `gamma * loss of what is forgotten + alpha * loss of what stays`.

    Attributes:
        gamma: weight of the first.
        alpha: weight of the second; with 0 it is not computed.
    """

    gamma: float = 1.0
    alpha: float = 1.0

    name: ClassVar[str]
    hyperparameters: ClassVar[Hyperparameters] = TOFU
    needs_reference: ClassVar[bool] = False
    # What is said instead of an answer, where there is such a thing.
    instead: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses settings out of range.

        Raises:
            ValueError: if one is.
        """
        for field, value in asdict(self).items():
            self.check(field, value)
        if not self.gamma and not self.alpha:
            raise ValueError(f"{self.name}: `gamma` and `alpha` are both 0, so that there is nothing to minimise.")

    def check(self, field: str, value: Any) -> None:
        """Refuses one setting that is out of range; methods with settings of another kind extend this.

        Raises:
            ValueError: if it is no finite number of at least 0, or above 0 of `beta`.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (field == "beta" and not value):
            least = "above 0" if field == "beta" else "of at least 0"
            raise ValueError(f"{self.name}: `{field}` is {value!r}; expected a finite number {least}.")

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """The loss of what is to be forgotten."""
        raise NotImplementedError

    def retain_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """The loss of what is to stay: the model's own, a mean over the answers' tokens."""
        return step.model(**step.retain, use_cache=False).loss.mean()

    def loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """The loss of a step."""
        loss = self.gamma * self.forget_loss(step)
        return loss + self.alpha * self.retain_loss(step) if self.alpha else loss

    def trained(self, model: PreTrainedModel) -> set[str]:
        """The names of the parameters that are trained: all that are not frozen."""
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def logits_of(model: nn.Module, batch: Batch) -> Float[Tensor, "batch seq vocab"]:
    """A model's logits of a batch."""
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
