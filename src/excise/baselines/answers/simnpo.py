"""SimNPO: negative preference by the mean loss of an answer's tokens, without a reference model."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from excise.baselines.answers.objective import AnswerObjective, AnswerStep


@dataclass(frozen=True)
class SimplePreference(AnswerObjective):
    """Minimises `gamma * SimNPO(forget) + alpha * loss(retain)`.

    SimNPO is the mean of `-2 / beta * log sigmoid(beta * (loss / tokens - delta))` over answers: long ones, which NPO
    forgets first, count as short ones do, and so do those that the model knew less well.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: weight of what stays.
        beta: how soon an answer counts as forgotten.
        delta: by which the mean loss of its tokens is lowered. The paper takes its margin, there called gamma, off
            after the multiplication by beta; with 0, the default, both are the same.

    Source: Fan et al. (2024), Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning, eq.
    4. OpenUnlearning: src/trainer/unlearn/simnpo.py, configs/trainer/SimNPO.yaml (`delta: 0.0`, `beta: 4.5`,
    `gamma: 0.125`, `alpha: 1.0`, `retain_loss_type: NLL`); training as in `hyperparameters.TOFU`.
    """

    gamma: float = 0.125
    beta: float = 4.5
    delta: float = 0.0

    name: ClassVar[str] = "SimNPO"

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """SimNPO of the answers."""
        losses, counts = step.losses(step.forget)
        return -2 / self.beta * F.logsigmoid(self.beta * (losses / counts - self.delta)).mean()
