"""Texts in, texts out."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.data.batches import padded_batches, to_device
from excise.models.activations import eval_mode


@torch.inference_mode()
def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    num_beams: int = 1,
    max_new_tokens: int = 128,
    batch_size: int = 64,
    progress: str | None = None,
) -> list[str]:
    """What a model generates for each text, in the order of the texts, without sampling (CodeUnlearn, appendix B.2).

    Args:
        model: any model that generates from `input_ids`; run in eval mode and left as it was.
        tokenizer: the model's.
        texts: the inputs.
        num_beams: 1 is greedy.
        max_new_tokens: length at which a text is cut off.
        batch_size: texts a batch.
        progress: label of a progress bar; none is shown without it.
    """
    input_ids = tokenizer(list(texts), truncation=True)["input_ids"]
    outputs = [""] * len(texts)
    with eval_mode(model):
        for rows, batch in padded_batches(input_ids, tokenizer, batch_size, progress):
            generated = model.generate(
                **to_device(batch, model.device), num_beams=num_beams, do_sample=False, max_new_tokens=max_new_tokens
            )
            for row, text in zip(rows, tokenizer.batch_decode(generated, skip_special_tokens=True), strict=True):
                outputs[row] = text
    return outputs
