"""UNDIAL: distillation of a model into itself with the logits of the tokens to be forgotten lowered."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from excise.baselines.answers.objective import AnswerObjective, AnswerStep, logits_of
from excise.baselines.hyperparameters import UNDIAL, Hyperparameters


@dataclass(frozen=True)
class AdjustedDistillation(AnswerObjective):
    """Minimises the cross-entropy of the model to itself as it was, where each answer's next token is made unlikely.

    The target of a token is the softmax of the logits as they were, less `beta` at the token that comes next. The loss
    is the mean over all tokens of the answers. OpenUnlearning's is over questions and padding as well; there -100 is
    taken for the number of a token, whose logit is lowered.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: weight of what stays; 0, as the authors keep nothing by examples.
        beta: by how much a logit is lowered; the authors look at 3, 10 and 30.

    Source: Dong et al. (2024), UNDIAL: Self-Distillation with Adjusted Logits, eqs. 2 and 3. OpenUnlearning:
    src/trainer/unlearn/undial.py, configs/trainer/UNDIAL.yaml (`gamma: 1.0`, `alpha: 0.0`, `beta: 10.0`); training as
    in `hyperparameters.UNDIAL`.
    """

    alpha: float = 0.0
    beta: float = 10.0

    name: ClassVar[str] = "UNDIAL"
    hyperparameters: ClassVar[Hyperparameters] = UNDIAL
    needs_reference: ClassVar[bool] = True

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """The cross-entropy to the lowered logits."""
        foreseen = step.forget["labels"][:, 1:]
        there = foreseen != -100
        tokens = foreseen[there]
        target = step.logits_before(step.forget)[:, :-1][there].float()
        target = target.scatter_add(1, tokens[:, None], target.new_full((len(tokens), 1), -self.beta))
        logits = logits_of(step.model, step.forget)[:, :-1][there].float()
        return F.cross_entropy(logits, target.softmax(-1))
