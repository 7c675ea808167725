"""Negative preference optimization (NPO): what is to be forgotten as the dispreferred answer."""

from collections.abc import Mapping

import torch.nn.functional as F
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from excise.baselines.history import BaselineRun
from excise.baselines.hyperparameters import NPO
from excise.baselines.text_training import forget_texts
from excise.storage.expected import expects


@expects("model", forget="rows", retain="rows")
def npo(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase,
    beta: float = 0.1,
    gamma: float = 1.0,
    alpha: float = 1.0,
    validation: Dataset | None = None,
    budget: float = 0.1,
    evaluate_on: Mapping[str, Dataset] | None = None,
) -> BaselineRun:
    """Trains a copy of a model to lose `gamma * NPO(forget) + alpha * loss(retain)`.

    NPO is `-2 / beta * log sigmoid(beta * (loss - loss of the model as it was))` of each text, where a text's loss is
    the negative log-likelihood of all its tokens. At first it goes as the ascent of `gradient_difference` does; it
    levels out once a text's loss has grown by several times `1 / beta`, and so destroys a model far later.

    Epochs, and the rule by which one of them is taken, are those of `gradient_difference` on texts.

    Args:
        model: a model that reads a text and writes another; it stays as it is.
        forget: training examples to forget: rows with `text` and `reference`, as a topic's `target`, or with
            `input_ids` and `labels`.
        retain: training examples to keep, likewise.
        args: as for any `Trainer`; nothing is written to `output_dir`. The authors' settings, `hyperparameters.NPO`, if
            not given: they are for 7 billion weights, and small models need a far larger learning rate. Give it epochs
            enough: what is to be kept is lost at first, and comes back while the rest goes on to be forgotten.
        tokenizer: the model's.
        beta: how far texts are pushed; towards 0 it is the difference of gradients.
        gamma: weight of the forget set.
        alpha: weight of the retain set.
        validation: examples to keep that it is not trained on; a tenth of `retain` is set aside for it if not given.
        budget: by which share the perplexity on them may grow: the best epoch is taken that keeps to it.
        evaluate_on: further data sets whose loss is recorded before the training and after every epoch, by name.

    Raises:
        ValueError: if the model does not write texts, a data set is empty or has other columns, `beta` is not above 0,
            or the budget is below 0.

    Example:
        run = npo(model, topic.target, topic.retain, args, tokenizer=tokenizer)

    Source: Zhang et al. (2024), Negative Preference Optimization, eq. 3, with the retain loss of their NPO+RT; `beta`
    and the weights are those of their code (licong-lin/negative-preference-optimization, config/forget.yaml) and of
    OpenUnlearning (locuslab/open-unlearning, src/trainer/unlearn/npo.py).
    """
    if not beta > 0:
        raise ValueError(f"`beta` is {beta}; it must be above 0. For the limit of 0, use `gradient_difference`.")

    def objective(
        kept: Tensor, losses: Float[Tensor, "batch"], counts: Int[Tensor, "batch"], before: Float[Tensor, "batch"]
    ) -> Tensor:
        return gamma * npo_loss(losses, before, beta) + alpha * kept

    args = NPO.arguments() if args is None else args
    return forget_texts(model, forget, retain, args, objective, tokenizer, validation, budget, evaluate_on)


def npo_loss(losses: Float[Tensor, "batch"], before: Float[Tensor, "batch"], beta: float) -> Tensor:
    """NPO of texts whose negative log-likelihoods are `losses`, and were `before`.

    Example:
        >>> import torch
        >>> same, unlikelier = torch.tensor([7.0]), torch.tensor([107.0])
        >>> round(npo_loss(same, same, 0.1).item(), 2), round(npo_loss(unlikelier, same, 0.1).item(), 2)
        (13.86, 0.0)
    """
    return -2 / beta * F.logsigmoid(beta * (losses - before)).mean()
