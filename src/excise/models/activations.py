"""Activations that arrive at a model's bottlenecks, without running what comes after them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from excise.bottlenecks.identity import NOT_TRAINED
from excise.bottlenecks.site import bottlenecks, is_left_out
from excise.bottlenecks.tracing import current_trace
from excise.data.batches import to_device
from excise.data.inputs import Inputs, StreamedInputs
from excise.storage.digests import sums

# Settings that change nothing of what a model computes.
NOT_COMPUTED = ("_name_or_path", "architectures", "base_model", "dtype", "transformers_version", "unlearning")


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts a model in eval mode, and back as it was, whatever happens inside."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def computing(model: nn.Module) -> dict[str, Any]:
    """What decides the outputs of a model in eval mode, as JSON values, for telling whether two compute the same.

    Its class, settings and state (adapters, hooks, bottlenecks left out, autocast), and sums of its weights: cheap, and
    not proof against who means to deceive.
    """
    settings = {}
    for name in ("config", "generation_config"):
        part: Any = getattr(model, name, None)
        if hasattr(part, "to_json_string"):
            values = json.loads(part.to_json_string(use_diff=False))
            settings[name] = {key: value for key, value in values.items() if key not in NOT_COMPUTED}
    return {"class": type(model).__name__, **settings, **circumstances(model), "weights": sums(model.state_dict())}


def circumstances(model: nn.Module, modules: Mapping[str, nn.Module] | None = None) -> dict[str, dict[str, Any]]:
    """What decides what a model computes besides its settings and tensors, as JSON values.

    Args:
        model: the model.
        modules: those that matter, by name; all of the model's if not given.

    Returns:
        `state`: autocast, bottlenecks left out, adapters and hooks, where there are any. `numbers`: those that modules
        hold beside their tensors, such as the epsilon of a norm or the scaling of an adapter.
    """
    state: dict[str, Any] = {"bottlenecks left out": True} if is_left_out(model) else {}
    numbers: dict[str, str] = {}
    for kind in {weight.device.type for weight in model.parameters()} - {"meta"}:
        if torch.is_autocast_enabled(kind):
            state[f"autocast on {kind}"] = str(torch.get_autocast_dtype(kind))
    for name, module in (dict(model.named_modules()) if modules is None else modules).items():
        adapters = [str(getattr(module, key, "")) for key in ("active_adapters", "disable_adapters", "merged_adapters")]
        if any(adapters):
            state[f"adapters of {name or 'the model'}"] = adapters
        guards = int(getattr(module, "erased", None) is not None)  # of embedding rows, which change no output
        if hooks := len(module._forward_pre_hooks) + len(module._forward_hooks) - guards:
            state[f"forward hooks of {name or 'the model'}"] = hooks
        for key, value in vars(module).items():
            if key.startswith("_") or "drop" in key or isinstance(module, nn.modules.dropout._DropoutNd):
                continue
            several = value if isinstance(value, dict) else {"": value}
            numbers |= {
                f"{key} of {name}" + (f" ({which})" if which else ""): str(number)
                for which, number in several.items()
                if isinstance(number, float)
            }
    return {"state": state, "numbers": numbers}


class _Arrived(Exception):
    """Ends a forward pass at the last bottleneck that is wanted."""


class Arrived(dict[str, Tensor]):
    """Activations that reach bottlenecks, `(batch, seq, dim)`, by site.

    Attributes:
        real: by site, bool `(batch, seq)`, those that are no padding's, and are not passed on as a constant; `None`
            where all are.
        first: bool `(batch, seq)`, the first tokens of texts; `None` where a model has no rule for those.
    """

    def __init__(self) -> None:
        super().__init__()
        self.real: dict[str, Tensor | None] = {}
        self.first: Tensor | None = None

    def tokens(self, site: str) -> Tensor:
        """The activations that reach a site of tokens that go through its codes, `(tokens, dim)`."""
        real = self.real[site]
        return self[site].flatten(0, -2) if real is None else self[site][real]

    def through_codes(self, site: str, where: Tensor) -> Tensor:
        """Those of some positions, bool `(batch, seq)`, that go through a site's codes, on its device."""
        real, where = self.real[site], where.to(self[site].device)
        return where if real is None else where & real


@torch.no_grad()
def bottleneck_inputs(model: nn.Module, batch: dict[str, Tensor], until: str | None = None) -> Arrived:
    """Runs a model as far as a bottleneck and no further.

    Args:
        model: a model with bottlenecks; it is run as it is, in whichever of train and eval mode.
        batch: `input_ids` and `attention_mask`, each `(batch, seq)`, or `pixel_values`.
        until: the last site wanted; the model's last if not given.

    Returns:
        The activations that reach each site up to that one, `(batch, seq, dim)`.

    Raises:
        ValueError: if there is no such site, or activations of tokens that are no padding are not finite.
    """
    sites = bottlenecks(model)
    until = until or list(sites)[-1]
    if until not in sites:
        raise ValueError(f"There is no bottleneck at {until}. Sites of this model: {list(sites)}.")
    inputs = Arrived()

    def catch(site):
        def hook(module, args, kwargs):
            inputs[site] = args[0] if args else kwargs["hidden_states"]
            mask = kwargs.get("attention_mask")
            shape = inputs[site].shape[:-1]
            inputs.first = current_trace().first
            inputs.real[site] = None if mask is None else mask.to(inputs[site].device).bool().expand(shape)
            if site == until:
                raise _Arrived

        return hook

    handles = [module.register_forward_pre_hook(catch(site), with_kwargs=True) for site, module in sites.items()]
    try:
        model(**batch)
    except _Arrived:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if until not in inputs:
        raise ValueError(f"The bottleneck at {until} did not run on a batch of {list(batch)}.")
    for site in inputs:
        tokens = inputs.tokens(site)
        if not tokens.isfinite().all():
            raise ValueError(
                f"Activations at {site} are not finite (NaN or infinity) in {int((~tokens.isfinite().all(-1)).sum())} "
                "tokens. The model's weights are broken, or its dtype overflows: try float32 or bfloat16."
            )
    return inputs


def deciding_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that a text goes through until a model's last bottleneck, and all inside of bottlenecks, by name.

    Which run is seen on a text of one token.
    """
    ran: set[nn.Module] = set()
    handles = [module.register_forward_pre_hook(lambda run, _: ran.add(run)) for module in model.modules()]
    one = torch.zeros((1, 1), dtype=torch.long, device=next(model.parameters()).device)
    try:
        with eval_mode(model):
            bottleneck_inputs(model, {"input_ids": one, "attention_mask": torch.ones_like(one)})
    finally:
        for handle in handles:
            handle.remove()
    ran |= {module for bottleneck in bottlenecks(model).values() for module in bottleneck.modules()}
    return {name: module for name, module in model.named_modules() if module in ran}


def deciding_tensors(model: nn.Module, modules: Mapping[str, nn.Module] | None = None) -> dict[str, Tensor]:
    """The tensors that decide what codes a model of texts selects, by name: all that a text goes through until then.

    Those that hold something of each code are left out, and what changes without training.

    Args:
        model: the model.
        modules: its `deciding_modules`, where they are known.
    """
    sites = bottlenecks(model)
    left_out = {(site, name) for site, of in sites.items() for name in (*of.code_tensors, *NOT_TRAINED)}
    names: dict[nn.Module, str] = {module: site for site, module in sites.items()}
    return {
        f"{name}.{key}": tensor
        for name, module in (deciding_modules(model) if modules is None else modules).items()
        for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        if (names.get(module), key) not in left_out
    }


def token_activations(
    model: PreTrainedModel,
    site: str,
    inputs: Inputs | StreamedInputs,
    max_tokens: int,
    progress: bool = True,
    batch_size: int = 128,
) -> tuple[Tensor, Tensor | None]:
    """Activations that reach a site, of tokens of the first batches, in eval mode.

    Returns:
        Those that go through its codes, `(tokens, dim)`, fp32; and the mean of those that are passed on as a constant,
        `(dim,)`, or `None` where none are.
    """
    found, firsts, total = [], [], 0
    with eval_mode(model):
        for _, batch in inputs.batches(batch_size, f"activations at {site}" if progress else None):
            batch = to_device(batch, model.device)
            reached = bottleneck_inputs(model, batch, until=site)
            found.append(reached.tokens(site).float())
            if reached.first is not None:
                firsts.append(reached[site][reached.first].float())
            total += len(found[-1])
            if total >= max_tokens:
                break
    return torch.cat(found)[:max_tokens], torch.cat(firsts).mean(0) if firsts else None
