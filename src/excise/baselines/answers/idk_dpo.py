"""IdkDPO: direct preference optimization (DPO) of not knowing over the answers to be forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from excise.baselines.answers.objective import AnswerObjective, AnswerStep

# Ways of not knowing, one of which is drawn for each answer at each time.
NOT_KNOWN = (
    "I don't know.",
    "I do not know the answer to this question.",
    "Sorry, I have no answer to that.",
    "I'm not sure about this one.",
    "I have not heard of this before.",
    "This is nothing that I know about.",
    "I cannot tell you anything about that.",
    "I was never told about it.",
    "No information on this is available to me.",
    "I would have to look that up first.",
    "That is not part of what I have learned.",
    "I can't help with this question.",
    "I'm afraid that I am not familiar with it.",
    "About this I know nothing at all.",
    "I wish I could answer, but I can't.",
    "I really could not say.",
    "Who or what that is, I don't know.",
    "My knowledge does not reach that far.",
    "It is unknown to me.",
    "There I have to pass.",
)


@dataclass(frozen=True)
class PreferNotKnowing(AnswerObjective):
    """Minimises `gamma * DPO(not knowing over forget) + alpha * loss(retain)`.

    DPO is the mean of `-2 / beta * log sigmoid(beta * (rise of the forgotten answer's loss - rise of the other's))`
    over answers. A loss is the sum over an answer's tokens, and its rise is over that of the model as it was. The other
    answer says that the model does not know, in words drawn anew each time.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: weight of what stays.
        beta: how soon a preference counts as learnt.
        answers: ways of not knowing. TOFU has a hundred (data/idontknow.jsonl of github.com/locuslab/tofu); those here
            are twenty others.

    Source: Rafailov et al. (2023), Direct Preference Optimization, eq. 7; Maini et al. (2024), TOFU, section 3.2, whose
    loss has no factor of `2 / beta`. OpenUnlearning: src/trainer/unlearn/dpo.py, configs/trainer/DPO.yaml (`beta: 0.1`,
    `gamma: 1.0`, `alpha: 1.0`, `retain_loss_type: NLL`), configs/experiment/unlearn/tofu/idk.yaml; training as in
    `hyperparameters.TOFU`.
    """

    beta: float = 0.1
    answers: Sequence[str] = NOT_KNOWN

    name: ClassVar[str] = "IdkDPO"
    needs_reference: ClassVar[bool] = True
    instead: ClassVar[bool] = True

    def check(self, field: str, value: Any) -> None:
        """Refuses answers that are none, beside what every method refuses."""
        if field != "answers":
            super().check(field, value)
            return
        texts = isinstance(value, list | tuple) and all(isinstance(one, str) and one.strip() for one in value)
        if not texts or not value:
            raise ValueError(f"{self.name}: `answers` is {value!r:.80}; expected a list of texts, one at least.")

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """DPO of not knowing over the answers."""
        if step.instead is None:
            raise ValueError(f"{self.name} has no answers that say that nothing is known.")
        rises = [step.losses(batch)[0] - step.losses_before(batch) for batch in (step.forget, step.instead)]
        return -2 / self.beta * F.logsigmoid(self.beta * (rises[0] - rises[1])).mean()
