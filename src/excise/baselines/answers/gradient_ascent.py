"""Gradient ascent (GA): the loss of what is to be forgotten is climbed, and nothing holds what is to stay."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from excise.baselines.answers.objective import AnswerObjective, AnswerStep


@dataclass(frozen=True)
class GradientAscent(AnswerObjective):
    """Minimises `-loss(forget)`, the mean over the answers' tokens. It has no lower bound and destroys a model in time.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: 0; what is to stay is not looked at.

    Source: Jang et al. (2023), Knowledge Unlearning for Mitigating Privacy Risks in Language Models, eq. 1; Maini et
    al. (2024), TOFU, section 3.2. OpenUnlearning: src/trainer/unlearn/grad_ascent.py, configs/trainer/GradAscent.yaml
    (no settings); training as in `hyperparameters.TOFU`.
    """

    alpha: float = 0.0

    name: ClassVar[str] = "GradAscent"

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """Minus the mean loss of the answers' tokens."""
        losses, counts = step.losses(step.forget)
        return -losses.sum() / counts.sum()
