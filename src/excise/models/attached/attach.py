"""Attaching bottlenecks to a model in memory, as PEFT injects adapters, and taking them off again."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from accelerate.hooks import add_hook_to_module, remove_hook_from_module
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.registry import own_settings
from excise.bottlenecks.site import bottlenecks, has_bottlenecks
from excise.ledger.ledger import Ledger
from excise.models.attached.families import FAMILIES, known
from excise.models.attached.first_tokens import check_beginnings
from excise.models.attached.subclasses import Attached, AttachedBase, config_class, model_class, put_bottlenecks
from excise.models.settings import check_width, said_as_value_errors, sorted_out
from excise.storage.expected import described

Settings = PreTrainedConfig | Mapping[str, Any] | None


def attach(
    model: PreTrainedModel,
    config: Settings = None,
    layers: Sequence[int | str] = (0,),
    *,
    position: str = "end",
    first_token: str | None = None,
    **fields: Any,
) -> PreTrainedModel:
    """Puts bottlenecks into a model, in place: all weights that it has, and their names, stay as they are.

    The model becomes one of excise: its class is a subclass of what it was, `Unlearner(model, tokenizer)` takes it, and
    `save_pretrained` writes a folder that `Unlearner.from_pretrained` opens, and the `Auto*` classes that open what it
    was; one of a class that transformers does not have opens by `type(model).from_pretrained` alone. The codes are
    new: give them to `initialize_codes`, and train them with the model. `detach` takes them off again.

    Args:
        model: any model of transformers.
        config: settings of the bottlenecks, of any kind; the defaults of `CodebookSAEConfig` if not given.
        layers: what gets one: numbers of layers, counted from 0, of a model of `excise.models.families()`, the
            encoder's where there is a decoder too; or paths of modules of any model, as `"model.layers.3"`.
        position: `"end"` of the layer, or `"attention"`: after attention and residual, before the feed-forward, where a
            layer has such a place.
        first_token: what the first token of each text is passed on as: `"constant"`, a vector that is the same
            for all texts and so tells nothing of them, or by its `"codes"`, as all others. In decoders its activation
            is larger than all others by a hundred deviations, so there a constant is the default.
        **fields: single settings of the bottlenecks, as `num_codes=4096`.

    Returns:
        The model that was given.

    Raises:
        ValueError: if it has bottlenecks already, an adapter on it or weights that are not in memory; there is no such
            layer or place in one; or a setting is none. The model is as it was.

    Example:
        >>> model = attach(AutoModelForCausalLM.from_pretrained("gpt2"), layers=[3], num_codes=4096)  # doctest: +SKIP
    """
    _check_plain(model)
    paths = [_path(model, layer, position) for layer in layers]
    if not paths or len(set(paths)) < len(paths):
        raise ValueError(f"layers={list(layers)!r}: expected one or more different layers.")
    family = FAMILIES.get(model.config.model_type)
    first_token = first_token or ("constant" if family and family.decoder else "codes")
    loading, settings, of_model = sorted_out(fields, config, model.config)
    if wrong := sorted({*loading, *of_model}):
        raise ValueError(
            f"{', '.join(wrong)}: attach takes settings of bottlenecks alone; the model's are as they are."
        )
    widths = {path: _width(model, path.partition(":")[0]) for path in paths}
    if len(set(widths.values())) > 1:
        raise ValueError(f"The layers have activations of different widths, {widths}, and the bottlenecks one setting.")
    with said_as_value_errors():
        own = own_settings(cast(Any, settings), widths[paths[0]], CodebookSAEConfig)
        check_width(own, "hidden_size", widths[paths[0]])
        made: Any = config_class(cast(Any, type(model.config)))
        made(bottleneck=own, bottleneck_sites=paths, first_token=first_token)  # which checks them
    if first_token == "constant":
        check_beginnings(model, paths)
    order = {name: i for i, (name, _) in enumerate(model.base_model.named_modules())}
    vars(model.config).pop("model_type", None)  # which a loaded one has of its own, beside its class
    model.config.__class__ = made
    model.config.bottleneck, model.config.first_token, model.config.unlearning = own, first_token, None
    model.config.bottleneck_sites = sorted(paths, key=lambda path: order[path.partition(":")[0]])
    hooks = {path: _without_hook(model, path.partition(":")[0]) for path in paths}
    training = model.training
    checkpointing = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    model.__class__ = cast(Any, model_class(cast(Any, type(model))))
    put_bottlenecks(model)
    for path, hook in hooks.items():
        layer = model.base_model.get_submodule(path.partition(":")[0])
        like = next(layer.parameters())
        layer.bottleneck.to(device=like.device, dtype=like.dtype if like.is_floating_point() else None)
        if hook is not None:
            add_hook_to_module(layer, hook)
    cast(Attached, model).watch()
    model.train(training)
    if checkpointing:
        cast(Attached, model)._set_gradient_checkpointing()
    return model


def detach(model: PreTrainedModel) -> PreTrainedModel:
    """Takes the bottlenecks off a model that `attach` gave them, in place: the rest is what it is, to the last bit.

    Of a model whose own weights were not trained since, that is the model of before.

    Args:
        model: a model with attached bottlenecks.

    Returns:
        The model that was given, of its plain class.

    Raises:
        ValueError: if it has none that were attached, or requests to forget are in force, which would be lifted.
    """
    if not isinstance(model, Attached):
        raise ValueError(f"{described(model)} was given; expected a model that attach has given bottlenecks.")
    requests = Ledger.from_dict(model.config.unlearning).requests_in_force()
    if requests or any(not bottleneck.live.all() for bottleneck in bottlenecks(model).values()):
        raise ValueError(
            f"{len(requests)} requests to forget are in force, and without bottlenecks nothing of them is. Undo them "
            "first, by `Unlearner.undo`; what was deleted cannot be undone. To have the plain model all the same, say "
            "`export_plain(model, brings_back_what_was_forgotten=True)`."
        )
    model.unwatch()
    base: Any = model.base_model
    for layer in model.attached_layers():
        hook = getattr(layer, "_hf_hook", None)
        if hook is not None:
            remove_hook_from_module(layer)
        del layer.bottleneck, layer.site, layer.sees_padding
        layer.__class__ = layer.plain
        if hook is not None:
            add_hook_to_module(layer, hook)
    if isinstance(base, AttachedBase):
        base.__class__ = cast(Any, base.plain)
    for name in ("bottleneck", "bottleneck_sites", "first_token", "unlearning", "base_model"):
        vars(model.config).pop(name, None)
    model.config.__class__ = cast(Any, model.plain.config_class)
    model.__class__ = cast(Any, model.plain)
    return model


def _check_plain(model: Any) -> None:
    if hasattr(model, "get_base_model"):
        raise ValueError(
            f"{described(model)} was given; attach takes a model without an adapter on it. Attach bottlenecks first, "
            "and put the adapter on what comes out; or merge it, by `model.merge_and_unload()`."
        )
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"{described(model)} was given; expected a model of transformers in memory.")
    if has_bottlenecks(model):
        raise ValueError(
            f"A {type(model).__name__} has bottlenecks already. Use it as it is, or take them off by `detach(model)`."
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("Weights of the model are not in memory: load it without a device map that offloads them.")


def _path(model: PreTrainedModel, layer: int | str, position: str) -> str:
    """The path of a site, from the base model, as `bottleneck_sites` has it."""
    if position not in ("end", "attention"):
        raise ValueError(f"position={position!r}: expected 'end' or 'attention'.")
    family = FAMILIES.get(model.config.model_type)
    base, prefix = model.base_model, f"{model.base_model_prefix}."
    if isinstance(layer, str):
        path = layer.removeprefix(prefix) if base is not model else layer
        try:
            found = base.get_submodule(path) if path else None
        except AttributeError:
            found = None
        if found is None:
            raise ValueError(f"{type(model).__name__} has no module {layer!r}; `print(model)` shows which it has.")
    else:
        family = known(model.config.model_type)
        blocks = base.get_submodule(family.layers)
        if isinstance(layer, bool) or not 0 <= layer < len(cast(nn.ModuleList, blocks)):
            raise ValueError(f"layers={layer!r}: this model has layers 0 to {len(cast(nn.ModuleList, blocks)) - 1}.")
        path = f"{family.layers}.{layer}"
    if position == "end":
        return path
    if family is not None and family.attention:
        return f"{path}.{family.attention}"
    if family is not None and family.parts:
        return f"{path}:{','.join(family.parts)}"
    raise ValueError(
        f"position='attention': in layers of a {model.config.model_type!r} model excise knows no place after attention "
        "and residual: some add attention and feed-forward at once, others norm in between. Take position='end'."
    )


def _width(model: PreTrainedModel, path: str) -> int:
    """The width of a layer's activations: as the settings of the part of the model that it belongs to have it."""
    parents = path.split(".")
    for end in range(len(parents), -1, -1):
        module = model.base_model.get_submodule(".".join(parents[:end]))
        width = getattr(getattr(module, "config", None), "hidden_size", None)
        if isinstance(width, int):
            return width
    raise ValueError(f"The width of {path}'s activations is not in the model's settings. Give `hidden_size`.")


def _without_hook(model: PreTrainedModel, path: str) -> Any:
    """A layer's hook of accelerate, taken off, as it runs what the layer's class was when it was put on."""
    layer = model.base_model.get_submodule(path)
    hook = getattr(layer, "_hf_hook", None)
    if hook is not None:
        remove_hook_from_module(layer)
    if "forward" in vars(layer):
        raise ValueError(f"{path} has a `forward` of its own, put on it after it was made. Attach before that is done.")
    return hook


__all__ = ["attach", "detach"]
