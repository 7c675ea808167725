"""Scores of answers by a decoder: each token's log probability and whether it is the likeliest, in batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from excise.data.batches import RowBatch, RowBatches
from excise.data.questions.answer_tokens import IGNORED, AnswerTokens
from excise.evaluation.predictions import joined_pass
from excise.evaluation.questions.shared_prompts import PromptGroups, answer_logits
from excise.models.activations import eval_mode


class AnswerScores(NamedTuple):
    """What a decoder makes of answers, row by row.

    Args:
        losses: `(rows,)`, float64: the mean of the negative log probabilities of each answer's tokens, with the one
            that ends it; NaN where all of it was cut off.
        log_probs: of each row, those of the tokens, without the one that ends the answer.
        right: of each row, which of these tokens are the likeliest ones.
    """

    losses: np.ndarray
    log_probs: list[np.ndarray]
    right: list[np.ndarray]


def check_decoder(model: nn.Module) -> None:
    """Refuses what does not write on from a text.

    Raises:
        ValueError: if it is an encoder-decoder, or has no config to tell.
    """
    config = getattr(model, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False) or not hasattr(model, "generate"):
        raise ValueError(
            f"{type(model).__name__} is no decoder language model, whose answers go on from the question. Give one of "
            "`AutoModelForCausalLM`; for an encoder-decoder there is `evaluate`."
        )


@torch.inference_mode()
def answer_scores(
    model: PreTrainedModel,
    tokens: AnswerTokens,
    batch_size: int = 8,
    progress: str | None = None,
    share_prompts: bool = False,
) -> AnswerScores:
    """What a decoder makes of answers, given their questions; in fp32 whatever the model's own type is.

    Padding changes nothing: batches of one give the same. No gradients, and the model is left as it was. The processes
    of a run that call it share the batches, and each gets all.

    Args:
        model: any decoder language model.
        tokens: from `answer_tokens`.
        batch_size: rows a batch.
        progress: label of a progress bar; none is shown without it.
        share_prompts: read each prompt once for all answers to it, which then are a batch, through the model's cache:
            the same but for rounding, and faster where a question has several answers.

    Raises:
        ValueError: if the model is no decoder, or gives something that is no number, or keeps no cache to share.
    """
    check_decoder(model)
    groups = PromptGroups(tokens)

    def step(outputs: dict[int, Any], batch: RowBatch) -> dict[int, Any]:
        (tensors,) = batch.tensors()
        if share_prompts:
            rows: Sequence[int] = groups.groups[batch.rows[0]]
            labels = tensors["labels"]
            logits = answer_logits(model, tensors)
        else:
            rows, labels = batch.rows, tensors.pop("labels")[:, 1:]
            inputs = {name: tensor.to(model.device) for name, tensor in tensors.items()}
            logits = model(**inputs, use_cache=False).logits[:, :-1]
        for place, row in enumerate(rows):
            there = labels[place] != IGNORED
            own = logits[place][there.to(logits.device)].float()
            wanted = labels[place][there].to(own.device)
            log_probs = own.log_softmax(-1).gather(1, wanted[:, None])[:, 0]
            outputs[row] = (log_probs.double().cpu().numpy(), (own.argmax(-1) == wanted).cpu().numpy())
        return outputs

    settings = {"function": "answer_scores", "batch_size": batch_size, "share_prompts": share_prompts}
    inputs, size = ([groups], 1) if share_prompts else ([tokens], batch_size)
    batches = RowBatches(inputs, lambda rows: rows, size, progress)
    with eval_mode(model):
        found = joined_pass(model, settings, batches, step)
    if broken := [row for row, (log_probs, _) in found.items() if np.isnan(log_probs).any()]:
        raise ValueError(
            f"{type(model).__name__} gives NaN for row {min(broken)}: its weights or its inputs are broken."
        )
    return _scores(tokens, found)


def _scores(tokens: AnswerTokens, found: dict[int, tuple[np.ndarray, np.ndarray]]) -> AnswerScores:
    """Outputs by row, put in order."""
    nothing = np.zeros(0), np.zeros(0, dtype=bool)
    losses, inner = [], []
    for row, ids in enumerate(tokens.rows):
        log_probs, right = found.get(row, nothing)
        losses.append(-log_probs.mean() if len(log_probs) else np.nan)
        kept = slice(0, len(log_probs) - int(ids.ended))
        inner.append((log_probs[kept], right[kept]))
    return AnswerScores(np.array(losses), [one[0] for one in inner], [one[1] for one in inner])


@torch.inference_mode()
def generated_answers(
    model: PreTrainedModel,
    tokens: AnswerTokens,
    *,
    max_new_tokens: int = 200,
    batch_size: int = 8,
    progress: str | None = None,
) -> list[str]:
    """What a decoder answers, the likeliest token each time, without the spaces around it.

    Args:
        model: any decoder language model; its own `generation_config` is kept but for sampling.
        tokens: from `answer_tokens`; their answers are not looked at.
        max_new_tokens: at which an answer is cut off.
        batch_size: prompts a batch, padded left.
        progress: label of a progress bar; none is shown without it.

    Raises:
        ValueError: if the model is no decoder, or a row has no prompt.
    """
    check_decoder(model)
    tokenizer: Any = tokens.tokenizer
    generates: Any = model
    prompts = tokens.prompts()
    ends = _ends(model, tokenizer)
    options: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens}
    options |= dict.fromkeys(("temperature", "top_p", "top_k")) | {"pad_token_id": prompts.padding}
    if ends:
        options["eos_token_id"] = ends

    def step(outputs: dict[int, str], batch: RowBatch) -> dict[int, str]:
        (tensors,) = batch.tensors()
        length = tensors["input_ids"].shape[1]
        ids = generates.generate(**{name: one.to(model.device) for name, one in tensors.items()}, **options)
        for row, new in zip(batch.rows, ids[:, length:].tolist(), strict=True):
            answer = new[: next((at for at, token in enumerate(new) if token in ends), len(new))]
            outputs[row] = str(tokenizer.decode(answer, skip_special_tokens=True)).strip()
        return outputs

    settings = {"function": "generated_answers", "batch_size": batch_size, "max_new_tokens": max_new_tokens}
    batches = RowBatches([prompts], lambda rows: rows, batch_size, progress)
    with eval_mode(model):
        outputs = joined_pass(model, settings, batches, step)
    return [outputs[row] for row in range(len(prompts))]


def _ends(model: PreTrainedModel, tokenizer: Any) -> list[int]:
    """The tokens that end a text: the model's and the tokenizer's."""
    own: Any = getattr(model.generation_config, "eos_token_id", None)
    several: Sequence[int | None] = own if isinstance(own, list | tuple) else [own]
    return sorted({token for token in (*several, tokenizer.eos_token_id) if token is not None})
