"""Sparse autoencoders of sae-lens, read as sparse units."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from excise.bottlenecks.sparse_units.bottleneck import SparseUnits
from excise.bottlenecks.sparse_units.configuration import SparseUnitsConfig
from excise.storage.digests import digest
from excise.storage.expected import expects

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
# What is read, and why the others are not.
READ = ("topk", "jumprelu", "standard")
NOT_READ = {
    "gated": "its units are chosen by one encoder and measured by another",
    "abstopk": "its units may be below 0",
    "batchtopk": "its number of active units is one of a batch; sae-lens saves it as jumprelu for use",
    "matching_pursuit": "its units are found one after the other",
    "temporal": "its units depend on the tokens before",
}
# Of how activations are scaled before, those whose own numbers would go around the units.
AROUND = {"layer_norm": "mean and deviation", "constant_norm_rescale": "length"}


@expects("folder")
def read_sae_lens(
    folder: str | os.PathLike, *, active: int | None = None, scaling_factor: float | None = None
) -> SparseUnits:
    """A sparse autoencoder that sae-lens has saved, as a bottleneck: the same units, and the same reconstruction.

    Read are `topk`, `jumprelu` (as which `batchtopk` is saved) and `standard`, of sae-lens 3 to 6, as `cfg.json` and
    `sae_weights.safetensors`. What sae-lens adds as an error term is not part of it: that would let what units do not
    say get through. Put it into a model whose activations it was trained on:

        units = read_sae_lens("sae")
        model = CodebookT5ForConditionalGeneration.from_base("t5-small", units.config, layers=[2])
        bottlenecks(model)["encoder.block.2"].load_state_dict(units.state_dict())

    Args:
        folder: where sae-lens's `save_model` has put it.
        active: units that may be active for a token at most; a `topk` has its k, which is the default. It must be given
            for others, any number of whose units may be active: the largest ones stay.
        scaling_factor: what activations are multiplied by first, where the autoencoder was trained so
            (`expected_average_only_in`) and neither its weights nor a file beside them have the factor.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if it is of another architecture, or says something that sparse units cannot do. The message names
            it.
    """
    path = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise FileNotFoundError(f"{path} has no {name}. Give the folder that sae-lens's `save_model` has written.")
    settings = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError(f"{path / CONFIG} holds no settings, but a {type(settings).__name__}.")
    architecture = _architecture(settings)
    tensors = {name: tensor.float() for name, tensor in load_file(path / WEIGHTS).items()}
    _check_tensors(tensors, architecture)
    factor = _factor(settings, path, scaling_factor)
    width, units = tensors["W_enc"].shape
    most = _active(settings, architecture, units, active)
    scaled = architecture == "topk" and bool(settings.get("rescale_acts_by_decoder_norm", False))
    config = SparseUnitsConfig(
        hidden_size=width,
        num_codes=units,
        active=most,
        activation="jumprelu" if architecture == "jumprelu" else "topk",
        scale_by_decoder=scaled,
        codes_id=digest([architecture], tensors)[:32],  # the same for the same units
    )
    made = SparseUnits(config)
    # What is subtracted before the encoder, though it was trained without, is added to its bias.
    shift = 0.0 if settings.get("apply_b_dec_to_input", True) else tensors["b_dec"] @ tensors["W_enc"]
    with torch.no_grad():
        made.encoder_weight.copy_(tensors["W_enc"].T)
        made.encoder_bias.copy_(tensors["b_enc"] + shift)
        made.decoder_weight.copy_(tensors["W_dec"])
        made.decoder_bias.copy_(tensors["b_dec"])
        made.scale.fill_(1 / factor)
        if architecture == "jumprelu":
            made.threshold.copy_(tensors["threshold"])
    return made.eval()


def _architecture(settings: Mapping[str, Any]) -> str:
    """Which it is, of those that are read."""
    name = settings.get("architecture", "standard")
    # Before sae-lens 6, a top-k was a standard one with another function.
    function = settings.get("activation_fn_str", settings.get("activation_fn"))
    if function == "topk":
        name = "topk"
    elif name in ("standard", "jumprelu") and function not in (None, "relu"):
        raise ValueError(f"The autoencoder has the activation function {function!r}; relu and topk are read.")
    if name not in READ:
        why = f": {NOT_READ[name]}" if name in NOT_READ else ""
        raise ValueError(f"The autoencoder is a {name!r} one, which sparse units cannot be{why}. Read are {READ}.")
    if settings.get("reshape_activations", "none") != "none" or "hook_z" in str(settings.get("hook_name", "")):
        raise ValueError("The autoencoder is of the outputs of attention heads (`hook_z`), where no bottleneck sits.")
    if settings.get("finetuning_scaling_factor"):
        raise ValueError("The autoencoder has a `finetuning_scaling_factor`, which is not read. Fold it in first.")
    return name


def _check_tensors(tensors: Mapping[str, Tensor], architecture: str) -> None:
    names = ["W_enc", "b_enc", "W_dec", "b_dec"] + (["threshold"] if architecture == "jumprelu" else [])
    if lost := [name for name in names if name not in tensors]:
        raise ValueError(f"{WEIGHTS} has no {', '.join(lost)}; a {architecture} autoencoder has {', '.join(names)}.")
    other = {name for name, tensor in tensors.items() if name != "scaling_factor" or (tensor != 1).any()} - {*names}
    if other:
        raise ValueError(f"{WEIGHTS} has {sorted(other)}, which no {architecture} autoencoder that is read has.")
    width, units = tensors["W_enc"].shape
    shapes = {"b_enc": (units,), "W_dec": (units, width), "b_dec": (width,), "threshold": (units,)}
    for name in names[1:]:
        if tuple(tensors[name].shape) != shapes[name]:
            raise ValueError(
                f"{name} has the shape {tuple(tensors[name].shape)}; expected {shapes[name]} beside a W_enc of "
                f"{(width, units)}."
            )


def _factor(settings: Mapping[str, Any], path: Path, given: float | None) -> float:
    """What activations are multiplied by, before the encoder, and divided by after the decoder."""
    how = settings.get("normalize_activations") or "none"
    if how is True:  # of sae-lens 3
        how = "expected_average_only_in"
    if how in AROUND:
        raise ValueError(
            f"The autoencoder normalises each activation by itself ({how!r}): its {AROUND[how]} would be passed on "
            "beside the units, and nothing may be. Take one that was trained without."
        )
    if how == "none":
        if given is not None:
            raise ValueError(f"scaling_factor={given}: the autoencoder takes activations as they are. Leave it out.")
        return 1.0
    if how != "expected_average_only_in":
        raise ValueError(f"The autoencoder was saved with normalize_activations={how!r}, not yet folded into weights.")
    if given is None and (path / SCALER).is_file():
        given = json.loads((path / SCALER).read_text(encoding="utf-8")).get("scaling_factor")
    if given is None:
        raise ValueError(
            "The autoencoder was trained on activations times a factor (`expected_average_only_in`) that is neither in "
            f"its weights nor in a {SCALER} beside them. Give it as `scaling_factor`: the square root of their width, "
            "divided by their mean length."
        )
    if not 0 < given < float("inf"):
        raise ValueError(f"scaling_factor={given}: expected a number above 0.")
    return float(given)


def _active(settings: Mapping[str, Any], architecture: str, units: int, given: int | None) -> int:
    """How many units may be active for a token."""
    if architecture == "topk":
        k = settings.get("k", (settings.get("activation_fn_kwargs") or {}).get("k"))
        if k is None:
            raise ValueError(f"{CONFIG} of a topk autoencoder has no `k`.")
        if given not in (None, k):
            raise ValueError(f"active={given}: the autoencoder was trained with {k} active units. Leave it out.")
        return int(k)
    if given is None:
        raise ValueError(
            f"Any number of units of a {architecture} autoencoder may be active, and a bottleneck has a greatest "
            "number. Give it as `active`: some times the mean number, as that of its L0 in sae-lens's tables."
        )
    return min(given, units)


__all__ = ["read_sae_lens"]
