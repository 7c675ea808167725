"""Output fields of codebooks beside those of the model that holds them, and the joint loss."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import cast

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from excise.bottlenecks.tracing import Trace


@dataclass(init=False, repr=False, eq=False)
class SiteCodes(ModelOutput):
    """Codes by site: a dict that transformers, accelerate and torch take apart and put together as they do an output.

    `codes["encoder.block.2"]` and `codes.items()` work as in any dict.
    """


@dataclass
class CodebookFields:
    """Fields that come after those of the plain model's output. They are `None` where no bottleneck ran.

    Args:
        loss (`torch.FloatTensor` of shape `()`, with a loss): The joint loss. It has the place of the plain model's.
        task_loss (`torch.FloatTensor` of shape `()`, with a loss): What the plain model calls `loss`.
        reconstruction_loss (`torch.FloatTensor` of shape `()`, with a loss): Unexplained variance (or the raw squared
            error), summed over sites.
        l1_loss (`torch.FloatTensor` of shape `()`, with a loss): L1 norm of the selected codes, not yet weighted.
        codes (`SiteCodes`): Codes by site, a dict of `torch.LongTensor` of shape `(batch, seq, top_s)`, -1 at padding.
    """

    loss: Tensor | None = None
    task_loss: Tensor | None = None
    reconstruction_loss: Tensor | None = None
    l1_loss: Tensor | None = None
    codes: SiteCodes | None = None


def codes_by_site(traced: Trace) -> SiteCodes | None:
    """The codes that a trace holds; `None` where no bottleneck ran."""
    return SiteCodes({site: output.codes for site, output in traced.outputs.items()}) if traced.outputs else None


def check_loss_is_here(labels: object, num_items_in_batch: object, training: bool) -> None:
    """Refuses the training of a `Trainer` that computes its loss without the model, and so without its codebooks.

    A `Trainer` tells a model the items of a batch only to have its loss divided by them.

    Raises:
        ValueError: if it gave no labels, as with `label_smoothing_factor` and `compute_loss_func`.
    """
    if training and labels is None and num_items_in_batch is not None:
        raise ValueError(
            "The Trainer keeps the labels for itself, as with `label_smoothing_factor` or `compute_loss_func`, and so "
            "computes the loss without the model: the codebook's loss would be lost without a word. Leave them out: "
            "the model's own loss has both parts."
        )


def joint_loss(
    loss: Tensor,
    traced: Trace,
    penalty: Callable[[Tensor, Tensor], Tensor],
    items: Tensor,
    whole: Tensor | int | None = None,
    texts: int = 1,
) -> dict[str, Tensor]:
    """The joint loss (eq. 8) and its parts, by the names of their fields.

    Every example's codebook loss (a mean over its tokens) weighs as much as its items do in the task loss. So the joint
    loss of a batch is one weighted mean, and the parts of a batch add up to it exactly. The paper's eq. 6 is a mean
    over activations without such weights; ours weighs them so by the `paper` preset, too. Where all examples have as
    many labels, the two differ only in that a short example's activations weigh as much in sum as a long one's.

    Args:
        loss: the task's, a mean over the items.
        traced: what the bottlenecks put out.
        penalty: the codebook loss (eq. 7) of the reconstruction loss and the L1 norm.
        items: what the task loss is a mean over, counted by example: labels, `(batch,)`.
        whole: items in the whole batch when this is a part of it.
        texts: how many texts an example has, as many as there are choices.
    """
    count = items.sum()
    whole = count if whole is None else whole
    task_loss = torch.where(count > 0, loss, 0) * (count / whole)  # a mean over nothing is no number
    if not traced.outputs:
        return {"loss": task_loss, "task_loss": task_loss}
    weights = (items / whole).to(task_loss.device)

    def mean(site: str, per_token: Tensor) -> Tensor:
        mask = traced.counted[site]  # its own: that of a text says nothing of an image or a decoder beside it
        tokens = per_token.shape[1] if mask is None else mask.sum(-1).clamp_min(1).to(per_token.device)
        by_text = (per_token.sum(-1) / tokens).to(weights.device)
        if texts > 1:
            by_text = by_text.view(-1, texts).mean(1)
        return by_text @ weights.to(per_token.dtype)

    sites = traced.outputs.items()
    reconstruction_loss = reduce(add, (mean(site, cast(Tensor, out.reconstruction_error)) for site, out in sites))
    l1_loss = reduce(add, (mean(site, cast(Tensor, out.l1)) for site, out in sites))
    return {
        "loss": task_loss + penalty(reconstruction_loss, l1_loss),
        "task_loss": task_loss,
        "reconstruction_loss": reconstruction_loss,
        "l1_loss": l1_loss,
    }
