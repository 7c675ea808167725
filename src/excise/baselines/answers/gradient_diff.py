"""Gradient difference (GradDiff): ascent on what is to be forgotten, descent on what is to stay."""

from dataclasses import dataclass
from typing import ClassVar

from excise.baselines.answers.gradient_ascent import GradientAscent


@dataclass(frozen=True)
class GradientDiff(GradientAscent):
    """Minimises `-gamma * loss(forget) + alpha * loss(retain)`, each a mean over the answers' tokens.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: weight of what stays.

    Source: Liu et al. (2022), Continual Learning and Private Unlearning; Maini et al. (2024), TOFU, section 3.2.
    OpenUnlearning: src/trainer/unlearn/grad_diff.py, configs/trainer/GradDiff.yaml (`gamma: 1.0`, `alpha: 1.0`,
    `retain_loss_type: NLL`); training as in `hyperparameters.TOFU`.
    """

    alpha: float = 1.0

    name: ClassVar[str] = "GradDiff"
