"""Optimizer with rates of their own for input embeddings and codes."""

from typing import cast

import torch
from transformers import PreTrainedModel, TrainingArguments
from transformers.training_args import OptimizerNames

from excise.bottlenecks.base import Bottleneck
from excise.ledger.optimizers import code_parameters
from excise.storage.expected import expects


@expects("model", "args")
def adamw(
    model: PreTrainedModel,
    args: TrainingArguments,
    embedding_learning_rate: float | None = None,
    codebook_learning_rate: float | None = None,
) -> torch.optim.AdamW:
    """AdamW with learning rates of their own for embeddings and codes; pass it as `Trainer(optimizers=(it, None))`.

    T5 starts its embeddings at a standard deviation of 1, some 20 times that of its other weights, and was trained by
    an optimizer whose steps are in proportion (Adafactor). Adam's are not: at the rate that suits the rest, a word that
    is new to the model hardly moves in a short training.

    Args:
        model: the model to train.
        args: its learning rate, betas, epsilon and weight decay are used, the latter for matrices only, and whether
            `optim` is the fused AdamW.
        embedding_learning_rate: peak rate of the input embeddings, and of the head where it is tied to them; that of
            `args` if not given.
        codebook_learning_rate: peak rate of the codes; that of `args` if not given.

    Raises:
        ValueError: if the embeddings are to have a rate of their own and the model has no one table of them.
    """
    embeddings = _embeddings(model)
    if embedding_learning_rate and not embeddings:
        raise ValueError(f"{type(model).__name__} has no one table of input embeddings; leave their rate out.")
    codebooks = [p for module in model.modules() if isinstance(module, Bottleneck) for p in code_parameters(module)]
    own = {id(p) for p in (*embeddings, *codebooks)}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    groups = [
        {"params": embeddings, "lr": embedding_learning_rate or args.learning_rate, "weight_decay": 0.0},
        {"params": codebooks, "lr": codebook_learning_rate or args.learning_rate, "weight_decay": 0.0},
        {"params": [p for p in others if p.dim() > 1], "weight_decay": args.weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    betas, fused = (args.adam_beta1, args.adam_beta2), args.optim == OptimizerNames.ADAMW_TORCH_FUSED
    return torch.optim.AdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, fused=fused)


def _embeddings(model: PreTrainedModel) -> list[torch.nn.Parameter]:
    try:
        return [cast(torch.nn.Parameter, model.get_input_embeddings().weight)]
    except NotImplementedError:  # a model of texts and images has several kinds
        return []
