"""Initialisation of codes from data."""

import copy
from typing import Any
from uuid import uuid4

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from tqdm.auto import trange
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import set_codes_id
from excise.bottlenecks.site import bottlenecks, unwrapped
from excise.data.inputs import Inputs, Processor, StreamedInputs, shuffled_inputs
from excise.models.activations import computing, token_activations
from excise.storage.expected import expects
from excise.storage.shared_pass import shared_pass

# How much longer than the median one an activation is that takes part in no statistics.
MASSIVE = 10


@expects("processor", model=bottlenecks)  # the data set may be whatever `load_rows` reads
def initialize_codes(
    model: PreTrainedModel,
    dataset: Dataset | IterableDataset,
    processor: Processor,
    *,
    text: str = "text",
    max_tokens: int = 131_072,
    steps: int = 200,
    learning_rate: float = 2e-3,
    batch_tokens: int = 3_072,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, float]:
    """Sets each bottleneck's mean, scale and codes from data and trains it alone for a few steps.

    The mean vector and the scale are those of the activations that reach the bottleneck. Codes start as encoded
    activations of random tokens, divided by S since S of them are summed. Then the bottleneck learns to reconstruct
    those activations (eq. 7), the rest of the model untouched. Sites are done in the order in which they run. The new
    codes get an id, which selections, counts and records of them carry.

    Of the processes of a run (`torchrun`) that call it, one does it, and all have its codes, to the last bit. Most of
    the time goes into steps that follow one another, and sums of several processes are not those of one.

    Args:
        model: a model with bottlenecks. Whatever fails leaves it as it was.
        dataset: rows with `input_ids` (the Trainer's own data set will do) or with a text column; for a model of
            images, rows with an image. Of a stream, the first rows are taken: give it shuffled.
        processor: the model's tokenizer or image processor.
        text: the text column, used where there are no `input_ids`.
        max_tokens: number of tokens, or positions of images, whose activations are collected.
        steps: training steps of the bottleneck alone; 0 for none.
        learning_rate: Adam's.
        batch_tokens: tokens a step.
        seed: of the rows, tokens and batches drawn.
        progress: show progress bars.

    Returns:
        Reconstruction error by site after the last step, on the last batch; empty where `steps` is 0.

    Raises:
        ValueError: if the data set is empty, activations are not finite, or the model has forgotten something
            already, which new codes would undo.
    """
    if getattr(model.config, "unlearning", None):
        raise ValueError("The model's ledger holds requests; new codes would bring back what it forgot.")
    model = unwrapped(model)
    inputs = shuffled_inputs(dataset, processor, text, max_tokens, seed)
    settings = {
        "function": "initialize_codes",
        "max_tokens": max_tokens,
        "steps": steps,
        "learning_rate": learning_rate,
        "batch_tokens": batch_tokens,
        "seed": seed,
    }

    def about() -> dict[str, Any]:
        return {**settings, "data": inputs.digest(), "model": computing(model)}

    def step(_: dict[str, Any], inputs: Inputs | StreamedInputs) -> dict[str, Any]:
        errors = _initialize(model, inputs, max_tokens, steps, learning_rate, batch_tokens, seed, progress)
        states = {site: bottleneck.state_dict() for site, bottleneck in bottlenecks(model).items()}
        on_cpu = {site: {name: t.cpu() for name, t in state.items()} for site, state in states.items()}
        return {"errors": errors, "states": on_cpu, "codes_id": uuid4().hex}

    made = shared_pass(about, [inputs], dict, step, lambda parts: parts[0])
    for site, bottleneck in bottlenecks(model).items():
        bottleneck.load_state_dict(made["states"][site])
    set_codes_id(model, made["codes_id"])
    return made["errors"]


def _initialize(
    model: PreTrainedModel,
    inputs: Inputs | StreamedInputs,
    max_tokens: int,
    steps: int,
    learning_rate: float,
    batch_tokens: int,
    seed: int,
    progress: bool,
) -> dict[str, float]:
    errors, sites = {}, bottlenecks(model)
    before = {site: copy.deepcopy(bottleneck.state_dict()) for site, bottleneck in sites.items()}
    try:
        for site, bottleneck in sites.items():
            activations, first = token_activations(model, site, inputs, max_tokens, progress)
            generator = torch.Generator().manual_seed(seed)
            if first is not None:  # a decoder, which has massive activations at other tokens too
                activations = _without_massive(activations)
            trial = copy.deepcopy(bottleneck).float()  # steps of Adam are lost in half precision
            trial.start_from_data(activations, generator)
            if first is not None and trial.first_token is not None:
                trial.first_token.copy_(first)
            if steps:
                errors[site] = _train_alone(trial, activations, steps, learning_rate, batch_tokens, generator, progress)
            bottleneck.load_state_dict(trial.state_dict())  # what reaches the next site depends on this one
    except BaseException:  # Ctrl-C too
        for site, bottleneck in sites.items():
            bottleneck.load_state_dict(before[site])
        raise
    return errors


def _without_massive(activations: Tensor) -> Tensor:
    """Activations without those that are longer than the median one by a factor of ten or more.

    A few tokens, such as the first and some line breaks, have them in decoders (Sun et al., 2024). They would be most
    of the variance, and so set the scale of all others. They go through the codes all the same.
    """
    norms = activations.norm(dim=1)
    return activations[norms < MASSIVE * norms.median()]


@torch.enable_grad()
def _train_alone(
    bottleneck: Bottleneck,
    activations: Tensor,
    steps: int,
    learning_rate: float,
    batch_tokens: int,
    generator: torch.Generator,
    progress: bool,
) -> float:
    requires_grad = {name: p.requires_grad for name, p in bottleneck.named_parameters()}
    bottleneck.requires_grad_(True)
    optimizer = torch.optim.Adam(bottleneck.parameters(), lr=learning_rate)
    bar = trange(steps, desc="bottleneck alone", unit="step", disable=not progress, leave=False)
    for _ in bar:
        drawn = torch.randint(len(activations), (min(batch_tokens, len(activations)),), generator=generator)
        output = bottleneck(activations[drawn.to(activations.device)][None])
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        bar.set_postfix(error=f"{output.reconstruction_error.mean().item():.3f}", refresh=False)
    for name, parameter in bottleneck.named_parameters():
        parameter.requires_grad_(requires_grad[name]).grad = None
    return output.reconstruction_error.mean().item()
