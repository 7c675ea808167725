"""Negative preference optimization (NPO) of a decoder's answers."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from excise.baselines.answers.objective import AnswerObjective, AnswerStep
from excise.baselines.preference import npo_loss


@dataclass(frozen=True)
class NegativePreference(AnswerObjective):
    """Minimises `gamma * NPO(forget) + alpha * loss(retain)`.

    NPO is the mean of `-2 / beta * log sigmoid(beta * (loss - loss of the model as it was))` over answers, where an
    answer's loss is the sum over its tokens.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: weight of what stays.
        beta: how soon an answer counts as forgotten; towards 0 it is gradient ascent.

    Source: Zhang et al. (2024), Negative Preference Optimization, eq. 3, with the retain loss of their NPO+RT.
    OpenUnlearning: src/trainer/unlearn/npo.py, configs/trainer/NPO.yaml (`beta: 0.1`, `gamma: 1.0`, `alpha: 1.0`,
    `retain_loss_type: NLL`); training as in `hyperparameters.TOFU`, which is the authors' own.
    """

    beta: float = 0.1

    name: ClassVar[str] = "NPO"
    needs_reference: ClassVar[bool] = True

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """NPO of the answers."""
        return npo_loss(step.losses(step.forget)[0], step.losses_before(step.forget), self.beta)
