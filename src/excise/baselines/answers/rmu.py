"""RMU (representation misdirection for unlearning): activations of a layer are steered to a random vector."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from excise.baselines.answers.objective import AnswerObjective, AnswerStep, Batch
from excise.bottlenecks.site import is_of_bottleneck

# Layers up to the steered one that are trained.
TRAINED_LAYERS = 3


@dataclass(frozen=True)
class Misdirection(AnswerObjective):
    """Minimises `gamma * MSE(forget, coefficient * u) + alpha * MSE(retain, as they were)` of a layer's activations.

    `u` is a random vector of length 1, the same throughout. An answer's error is the mean over its tokens, and the loss
    the mean over answers. (OpenUnlearning multiplies the mean of the sums by that of `1 / tokens`, which is the same
    where all answers are as long.) Trained are the layer and the two before it.

    Attributes:
        gamma: weight of what is forgotten.
        alpha: weight of what stays.
        layer: whose activations; the eighth if not given, as the authors take, but no deeper than half of the model.
        coefficient: length of the vector that activations are steered to. It, `alpha` and the layer depend on the model
            and have to be looked for.
        parameters: a regular expression that is found in the names of those that are trained, such as
            `"mlp.down_proj.weight"`, the authors' own; all of the three layers if not given.

    Source: Li et al. (2024), The WMDP Benchmark, section 4 (eqs. 1 to 3; there `alpha` is 1200 for Zephyr-7B, with a
    coefficient of 6.5). OpenUnlearning: src/trainer/unlearn/rmu.py, configs/trainer/RMU.yaml (`gamma: 1.0`,
    `alpha: 1.0`, `steering_coeff: 2`, `retain_loss_type: EMBED_DIFF`, layer 7, there with all parameters below it
    trained); training as in `hyperparameters.TOFU`.
    """

    layer: int | None = None
    coefficient: float = 2.0
    parameters: str | None = None

    name: ClassVar[str] = "RMU"
    needs_reference: ClassVar[bool] = True

    def check(self, field: str, value: Any) -> None:
        """Refuses layers and expressions that are none, beside what every method refuses."""
        if field == "layer" and value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"{self.name}: `layer` is {value!r}; expected the number of a layer, from 0.")
        if field == "parameters" and value is not None:
            try:
                re.compile(value)
            except (re.error, TypeError) as error:
                raise ValueError(f"{self.name}: `parameters` is {value!r}, no regular expression: {error}.") from error
        if field not in ("layer", "parameters"):
            super().check(field, value)

    def steered(self, model: PreTrainedModel) -> int:
        """The number of the layer whose activations are steered.

        Raises:
            ValueError: if the model has no such layer.
        """
        count = len(layers_of(model))
        layer = min(7, count // 2) if self.layer is None else self.layer
        if not 0 <= layer < count:
            raise ValueError(f"{self.name}: layer={layer}, and {type(model).__name__} has layers 0 to {count - 1}.")
        return layer

    def trained(self, model: PreTrainedModel) -> set[str]:
        """The names of the parameters of the steered layer and the two before it, without bottlenecks.

        Raises:
            ValueError: if `parameters` is in none of their names, or all are frozen.
        """
        last = self.steered(model)
        chosen = layers_of(model)[max(0, last + 1 - TRAINED_LAYERS) : last + 1]
        own = {id(parameter) for layer in chosen for parameter in layer.parameters()}
        pattern = re.compile(self.parameters or "")
        names = {
            name
            for name, parameter in model.named_parameters()
            if id(parameter) in own and parameter.requires_grad and not is_of_bottleneck(name) and pattern.search(name)
        }
        if not names:
            raise ValueError(
                f"{self.name}: nothing is trained: no parameter of layers {max(0, last + 1 - TRAINED_LAYERS)} to "
                f"{last} that is not frozen has {self.parameters or 'a name'!r} in its name."
            )
        return names

    def forget_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """The distance of the answers' activations from the vector."""
        found = self._activations(step.model, step.student, step.forget)
        drawn = torch.rand(found.shape[-1], generator=torch.Generator().manual_seed(step.seed))
        vector = (self.coefficient * drawn / torch.linalg.vector_norm(drawn)).to(found.device)
        return squared_distance(found, vector.expand_as(found), step.forget)

    def retain_loss(self, step: AnswerStep) -> Float[Tensor, ""]:
        """The distance of the activations of what stays from what they were."""
        if step.reference is None:
            raise ValueError(f"{self.name} needs the model as it was as a reference.")
        with torch.no_grad():
            before = self._activations(step.reference, step.reference, step.retain)
        return squared_distance(self._activations(step.model, step.student, step.retain), before, step.retain)

    def _activations(self, model: nn.Module, inner: PreTrainedModel, batch: Batch) -> Float[Tensor, "batch seq dim"]:
        """What the layer puts out, in fp32."""
        found: list[Tensor] = []

        def keep(layer: nn.Module, given: Any, output: Any) -> None:
            found.append(output[0] if isinstance(output, tuple) else output)

        handle = layers_of(inner)[self.steered(inner)].register_forward_hook(keep)
        try:
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        finally:
            handle.remove()
        return found[0].float()


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a decoder, by the number of them in its config.

    Raises:
        ValueError: if there is no list of so many.
    """
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and count:
            return module
    raise ValueError(
        f"{type(model).__name__} has no list of {count} layers, as its config says. RMU needs a model whose layers are "
        "an nn.ModuleList of `num_hidden_layers`."
    )


def squared_distance(
    found: Float[Tensor, "batch seq dim"], wanted: Float[Tensor, "batch seq dim"], batch: Batch
) -> Float[Tensor, ""]:
    """The mean squared difference of activations, over each answer's tokens and then over answers."""
    there = batch["labels"] != -100
    by_token = (found - wanted).square().mean(-1).masked_fill(~there, 0)
    return (by_token.sum(-1) / there.sum(-1)).mean()
