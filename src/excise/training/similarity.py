"""Least similarity to a code that lets an activation pass, set from data."""

from typing import Any, cast

import torch
from datasets import Dataset, IterableDataset
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottlenecks, unwrapped
from excise.data.inputs import Inputs, Processor, StreamedInputs, shuffled_inputs
from excise.models.activations import computing, token_activations
from excise.storage.expected import expects
from excise.storage.shared_pass import shared_pass


@expects("processor", model=bottlenecks)  # the data set may be whatever `load_rows` reads
@torch.no_grad()
def set_min_similarity(
    model: PreTrainedModel,
    dataset: Dataset | IterableDataset,
    processor: Processor,
    *,
    quantile: float = 0.005,
    text: str = "text",
    max_tokens: int = 16_384,
    batch_tokens: int = 1_024,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, float]:
    """Sets the least similarity at which a token is passed on: a low quantile of the cosines with its best code.

    Without it a token whose codes were removed is passed on as its next best codes, whose sum still resembles it; with
    it, as nothing (docs/method/experiments.md). Set it when the training has ended. Sites are done in the order in
    which they run. Of the processes of a run that call it, one does it for all.

    Args:
        model: a model with bottlenecks. Whatever fails leaves it as it was.
        dataset: rows with `input_ids` (the Trainer's own data set will do) or with a text column; for a model of
            images, rows with an image. Of a stream, the first rows are taken: give it shuffled.
        processor: the model's tokenizer or image processor.
        quantile: share of the tokens, those least similar to any code, that are passed on as nothing from now on; 0
            for none of these.
        text: the text column, used where there are no `input_ids`.
        max_tokens: number of tokens, or positions of images, looked at.
        batch_tokens: tokens at once.
        seed: of the rows drawn.
        progress: show progress bars.

    Returns:
        The least similarity by site.

    Raises:
        ValueError: if `quantile` is not from 0 to below 1, the data set is empty, activations are not finite, or the
            model has forgotten something already: what the next best codes then have is no measure.
    """
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile={quantile}: expected a share from 0 to below 1.")
    if getattr(model.config, "unlearning", None):
        raise ValueError("The model's ledger holds requests; measure with the model as it was before.")
    if without := [
        site for site, bottleneck in bottlenecks(model).items() if not hasattr(bottleneck, "min_similarity")
    ]:
        raise ValueError(f"Bottlenecks at {without} are of a kind that has no least similarity to set.")
    model = unwrapped(model)
    inputs = shuffled_inputs(dataset, processor, text, max_tokens, seed)
    settings = {"function": "set_min_similarity", "quantile": quantile, "max_tokens": max_tokens}
    settings |= {"batch_tokens": batch_tokens, "seed": seed}

    def about() -> dict[str, Any]:
        return {**settings, "data": inputs.digest(), "model": computing(model)}

    def step(_: dict[str, float], inputs: Inputs | StreamedInputs) -> dict[str, float]:
        return _set(model, inputs, quantile, max_tokens, batch_tokens, progress)

    least = shared_pass(about, [inputs], dict, step, lambda parts: parts[0])
    for site, bottleneck in cast(dict[str, Any], bottlenecks(model)).items():
        bottleneck.min_similarity.fill_(least[site])
    return least


def _set(
    model: PreTrainedModel,
    inputs: Inputs | StreamedInputs,
    quantile: float,
    max_tokens: int,
    batch_tokens: int,
    progress: bool,
) -> dict[str, float]:
    sites = cast(dict[str, Any], bottlenecks(model))
    before = {site: bottleneck.min_similarity.clone() for site, bottleneck in sites.items()}
    try:
        for site, bottleneck in sites.items():
            activations, _ = token_activations(model, site, inputs, max_tokens, progress)
            best = torch.cat([_best_cosines(bottleneck, part) for part in activations.split(batch_tokens)])
            bottleneck.min_similarity.fill_(best.quantile(quantile))
    except BaseException:  # Ctrl-C too
        for site, bottleneck in sites.items():
            bottleneck.min_similarity.copy_(before[site])
        raise
    return {site: bottleneck.min_similarity.item() for site, bottleneck in sites.items()}


def _best_cosines(bottleneck, activations):
    return bottleneck.rank(activations.to(bottleneck.dtype), 1)[1][:, 0, 0]
