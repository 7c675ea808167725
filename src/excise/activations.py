"""What arrives at a model's bottlenecks, without running what comes after them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.batches import padded_batches, to_device
from excise.models.site import bottlenecks
from excise.modes import eval_mode


class _Arrived(Exception):
    """Ends a forward pass at the last bottleneck that is wanted."""


@torch.no_grad()
def bottleneck_inputs(model: nn.Module, batch: dict[str, Tensor], until: str | None = None) -> dict[str, Tensor]:
    """Runs a model's encoder as far as a bottleneck and no further.

    Args:
        model: a model with bottlenecks; it is run as it is, in whichever of train and eval mode.
        batch: `input_ids` and `attention_mask`, each `(batch, seq)`.
        until: the last site wanted; the model's last if not given.

    Returns:
        The activations that reach each site up to that one, `(batch, seq, dim)`.

    Raises:
        ValueError: if activations of tokens that are no padding are not finite.
    """
    sites = bottlenecks(model)
    until = until or list(sites)[-1]
    inputs: dict[str, Tensor] = {}

    def catch(site):
        def hook(module, args, kwargs):
            inputs[site] = args[0] if args else kwargs["hidden_states"]
            if site == until:
                raise _Arrived

        return hook

    handles = [module.register_forward_pre_hook(catch(site), with_kwargs=True) for site, module in sites.items()]
    try:
        model.get_encoder()(**batch)
    except _Arrived:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if until not in inputs:
        raise ValueError(f"The bottleneck at {until} did not run. Sites of this model: {list(sites)}.")
    for site, hidden_states in inputs.items():
        tokens = hidden_states[batch["attention_mask"].bool().to(hidden_states.device)]
        if not tokens.isfinite().all():
            raise ValueError(
                f"Activations at {site} are not finite (NaN or infinity) in {int((~tokens.isfinite().all(-1)).sum())} "
                "tokens. The model's weights are broken, or its dtype overflows: try float32 or bfloat16."
            )
    return inputs


def token_activations(
    model: PreTrainedModel,
    site: str,
    input_ids: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    progress: bool = True,
) -> Tensor:
    """Activations that reach a site, of tokens of the first rows, `(tokens, dim)`, fp32, in eval mode."""
    total, rows = 0, 0
    while rows < len(input_ids) and total < max_tokens:
        total += len(input_ids[rows])
        rows += 1
    with eval_mode(model):
        found = []
        label = f"activations at {site}" if progress else None
        for _, batch in padded_batches(input_ids[:rows], tokenizer, progress=label):
            batch = to_device(batch, model.device)
            hidden_states = bottleneck_inputs(model, batch, until=site)[site]
            found.append(hidden_states[batch["attention_mask"].bool()].float())
    return torch.cat(found)[:max_tokens]
