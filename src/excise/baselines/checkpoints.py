"""A model's weights at some moment, kept in memory."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

Checkpoint = dict[str, Tensor]


def save_checkpoint(model: PreTrainedModel) -> Checkpoint:
    """All that a training may change: buffers, and parameters that are not frozen; copied, on the CPU."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


@torch.no_grad()
def load_checkpoint(model: PreTrainedModel, checkpoint: Checkpoint) -> None:
    """Puts a model back where it was when the checkpoint was saved."""
    model.load_state_dict(checkpoint, strict=False)  # frozen parameters are not in it
