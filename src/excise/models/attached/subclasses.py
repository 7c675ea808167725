"""Classes of models with attached bottlenecks, and of their settings and outputs, made of the plain ones."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, cast, get_args, get_type_hints

import torch
import transformers
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, modeling_outputs
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import ModelOutput, can_return_tuple
from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY

from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.registry import make_bottleneck, own_settings
from excise.bottlenecks.site import is_of_bottleneck
from excise.bottlenecks.tracing import Trace, is_traced, trace
from excise.ledger.ledger import Ledger
from excise.models.attached.cache_stamp import check_memories, put_stamp, stamp
from excise.models.attached.families import ATTACHED_CLASS, ATTACHED_TYPE
from excise.models.attached.first_tokens import by_text, check_beginnings, first_tokens, sees_texts
from excise.models.attached.layers import Remade, site_class
from excise.models.base_checkpoint import BaseCheckpoint
from excise.models.bottlenecked import Bottlenecked
from excise.models.outputs import CodebookFields, check_loss_is_here, codes_by_site, joint_loss
from excise.models.settings import check_width, sub_config

FIRST_TOKEN = ("constant", "codes")
ALONE = """\
The base model is trained without the model around it, whose loss has the bottlenecks' own: it would be lost without a \
word. Of TRL's SFTTrainer, which computes the loss by itself, take `class JointSFTTrainer(SFTTrainer): compute_loss = \
transformers.Trainer.compute_loss`. In a loop of your own, run it inside `excise.bottlenecks.trace(...)`, and add the \
losses of its outputs."""
# By class of output, the one with fields of codebooks.
OUTPUTS: dict[type[ModelOutput], type[ModelOutput]] = {}
CAUSAL = frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


class AttachedConfig:
    """Mixed into the settings of a plain model, before them.

    Args:
        bottleneck (`PreTrainedConfig` or `dict`): Settings of every bottleneck, of any registered kind.
        bottleneck_sites (`list[str]`): Paths of the modules that have one, from the base model, in the order in which
            they run; after a colon the names of a layer's four parts, where it sits after attention and residual.
        first_token (`str`, defaults to `"codes"`): `"constant"` where the first token of a text is passed on as a
            constant, `"codes"` where it goes through the codes as all others do.
        unlearning (`dict`, *optional*): The ledger of what was forgotten. Written by [`Unlearner`], not by hand.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        own = cast(Any, self)
        own.bottleneck = own_settings(own.bottleneck, None, CodebookSAEConfig)
        own.bottleneck_sites = list(own.bottleneck_sites)
        super().__post_init__(**kwargs)  # type: ignore[misc]  # of the plain settings
        if own.first_token not in FIRST_TOKEN:
            raise ValueError(f"first_token={own.first_token!r}: expected one of {', '.join(map(repr, FIRST_TOKEN))}.")
        if len({site.partition(":")[0] for site in own.bottleneck_sites}) < len(own.bottleneck_sites):
            raise ValueError("bottleneck_sites names a module twice; expected one bottleneck a module.")
        if own.bottleneck_sites:
            check_width(sub_config(own.bottleneck), "hidden_size", sub_config(own.bottleneck).hidden_size)


@cache
def config_class(plain: Any) -> type[PreTrainedConfig]:
    """The class of settings of a plain model with bottlenecks attached, made of the plain one's."""
    fields = {
        "bottleneck": dict | PreTrainedConfig | None,
        "bottleneck_sites": list[str] | tuple[str, ...],
        "first_token": str,
        "unlearning": dict[str, Any] | None,
    }
    body = {
        **{
            "__module__": __name__,
            "__doc__": f"A {plain.__name__} with attached bottlenecks.\n{AttachedConfig.__doc__}",
        },
        **{"__annotations__": fields, "model_type": ATTACHED_TYPE + plain.model_type},
        **{"sub_configs": {**plain.sub_configs, "bottleneck": CodebookSAEConfig}},
        **{"bottleneck": None, "bottleneck_sites": (), "first_token": "codes", "unlearning": None},
    }
    return cast(type[PreTrainedConfig], strict(type(ATTACHED_CLASS + plain.__name__, (AttachedConfig, plain), body)))


class InTrace(Remade):
    """Mixed into the class of a model whose layers have bottlenecks, be it whole or a base model."""

    def attached_layers(self) -> list[Any]:
        """The layers that have a bottleneck, in the order in which they run."""
        own = cast(Any, self)
        paths = (site.partition(":")[0] for site in own.config.bottleneck_sites)
        try:
            return [own.base_model.get_submodule(path) for path in paths]
        except AttributeError as error:
            raise ValueError(f"bottleneck_sites names modules that this model does not have: {error}"[:300]) from error

    def run_plain(self, arguments: Mapping[str, Any]) -> tuple[Any, Trace, int]:
        """The plain class's output, in a trace of its own, with that trace, and how many texts an example has.

        Raises:
            ValueError: if the arguments have a cache that was filled under other masks.
        """
        compiling = torch.compiler.is_compiling()
        stamped = "" if compiling else stamp(self)
        if not compiling:
            check_memories(self, arguments, stamped)
        texts, each = by_text(arguments)
        first = first_tokens(texts) if cast(Any, self).config.first_token == "constant" else None
        with trace(_mask(texts), first) as traced:
            output = self.plain.forward(self, **arguments)
        if not compiling:
            put_stamp(arguments, output, stamped)
        return output, traced, each


class Attached(InTrace, Bottlenecked):
    """Mixed into a plain model's class, before it: its layers have bottlenecks, and its loss is the joint one."""

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any):
        made, remote = type(config), vars(config).pop("auto_map", None)
        # Some heads make their base model of the settings, by `AutoModel`: that of a plain one, without bottlenecks.
        config.__class__ = cast(Any, self.plain.config_class)
        try:
            super().__init__(config, *args, **kwargs)
        finally:
            config.__class__ = cast(Any, made)
            if remote is not None:
                config.auto_map = remote
        if config.bottleneck_sites:
            put_bottlenecks(self)
            self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As `Bottlenecked`. A file that lacks something of a bottleneck raises a `ValueError`."""
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        if lost := sorted(name for name in info["missing_keys"] if is_of_bottleneck(name)):
            raise ValueError(
                f"The file lacks weights of bottlenecks: {lost[:5]} ({len(lost)} in all). They would be as new, "
                "before any training. Load an unchanged copy."
            )
        return (model, info) if output_loading_info else model

    @classmethod
    def _base_weights(cls, base: BaseCheckpoint, config: PreTrainedConfig, **access: Any) -> dict[str, Tensor]:
        base.files(**access)  # which are those that it was pinned with
        plain = cast(Any, cls.plain).from_pretrained(base.id, revision=base.revision, dtype="auto", **access)
        return plain.state_dict()

    def run(self, arguments: dict[str, Any]) -> Any:
        """The plain model's output, with the joint loss and the codes."""
        labels, whole = arguments.get("labels"), arguments.pop("num_items_in_batch", None)
        check_loss_is_here(labels, whole, self.training)
        plain, traced, each = self.run_plain(arguments | {"return_dict": True})
        losses = {}
        if plain.get("loss") is not None:
            items = _items(labels, plain, self.plain)
            losses = joint_loss(plain.loss, traced, self.config.bottleneck.penalty, items, whole, each)
        made = OUTPUTS.get(type(plain)) or output_class(cast(Any, type(plain)))
        return made(**dict(plain) | losses, codes=codes_by_site(traced))


class AttachedBase(InTrace):
    """Mixed into the class of a base model, before it, for where it is run without the model around it."""

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As in transformers, while nothing is forgotten: a plain model could be filled from what it writes."""
        own = cast(Any, self)
        if Ledger.from_dict(own.config.unlearning).requests_in_force():
            raise ValueError(
                "Requests to forget are in force, and the plain class could be filled with the weights of the base "
                "model alone. Save the model around it: `AutoModel.from_pretrained` opens that as a base model."
            )
        super().save_pretrained(*args, **kwargs)  # type: ignore[misc]  # of the plain class


@cache
def model_class(plain: Any) -> type[Attached]:
    """The class of a plain model with bottlenecks attached, made of the plain one's."""
    names = list(inspect.signature(plain.forward).parameters)[1:]

    @can_return_tuple
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.run({**dict(zip(names, args, strict=False)), **kwargs})

    with suppress(NameError):  # of what is imported for type checkers alone
        for kind in get_args(get_type_hints(plain.forward).get("return")):
            if isinstance(kind, type) and issubclass(kind, ModelOutput):
                output_class(cast(Any, kind))  # beforehand, as none can be made in a compiled graph
    forward = wraps(plain.forward)(run)
    body = {
        **{"__module__": __name__, "__doc__": f"A {plain.__name__} with attached bottlenecks."},
        **{"plain": plain, "recipe": (model_class, plain), "forward": forward},
        **{"config_class": config_class(cast(Any, plain.config_class))},
        # Losses are divided by `num_items_in_batch`, so that accumulated steps equal the large batch; a contrastive
        # loss is a mean over its own batch.
        **{"accepts_loss_kwargs": "labels" in names},
    }
    return cast(type[Attached], _records_as(plain, type(ATTACHED_CLASS + plain.__name__, (Attached, plain), body)))


@cache
def base_class(plain: Any) -> type[AttachedBase]:
    """The class of a base model inside of one with bottlenecks attached, made of the plain one's."""
    names = list(inspect.signature(plain.forward).parameters)[1:]

    @wraps(plain.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return plain.forward(self, *args, **kwargs)
        if self.training and torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            raise ValueError(ALONE)
        return self.run_plain({**dict(zip(names, args, strict=False)), **kwargs})[0]

    body = {"__module__": __name__, "plain": plain, "recipe": (base_class, plain), "forward": forward}
    return cast(
        type[AttachedBase], _records_as(plain, type(ATTACHED_CLASS + plain.__name__, (AttachedBase, plain), body))
    )


def _records_as(plain: Any, made: type) -> type:
    """Has a class record hidden states and attentions as the plain one does: transformers notes that by name."""
    dict.__setitem__(_CAN_RECORD_REGISTRY, str(made), getattr(plain, "_can_record_outputs", None))
    return made


@cache
def output_class(plain: Any) -> type[ModelOutput]:
    """The class of a plain model's output with [`CodebookFields`]."""
    body = {"__module__": __name__, "__doc__": f"A {plain.__name__} and `CodebookFields`."}
    OUTPUTS[plain] = cast(
        type[ModelOutput], dataclass(type(ATTACHED_CLASS + plain.__name__, (CodebookFields, plain), body))
    )
    return OUTPUTS[plain]


def put_bottlenecks(model: Any) -> None:
    """Gives the layers that a model's settings name their bottlenecks, which are new."""
    constant, base = model.config.first_token == "constant", model.base_model
    if constant:
        check_beginnings(model, model.config.bottleneck_sites)
    for layer, site in zip(model.attached_layers(), model.config.bottleneck_sites, strict=True):
        path, _, parts = site.partition(":")
        if parts and (lost := [part for part in parts.split(",") if not hasattr(layer, part)]):
            raise ValueError(f"bottleneck_sites={site!r}: {path} has no parts {lost!r}."[:300])
        bottleneck = make_bottleneck(sub_config(model.config.bottleneck))
        if constant:
            bottleneck.hold_first_token()
        model._no_split_modules = {*(model._no_split_modules or ()), ATTACHED_CLASS + type(layer).__name__}
        layer.__class__ = site_class(cast(Any, type(layer)), tuple(parts.split(",")) if parts else None)
        layer.attach(path, bottleneck)
        layer.sees_padding = sees_texts(model, path)
    if base is not model:
        base.__class__ = base_class(cast(Any, type(base)))


def _mask(arguments: Mapping[str, Any]) -> Tensor | None:
    """The attention mask of the tokens that are given, `(batch, seq)`: of those in a cache it has no need."""
    tokens = next((arguments[name] for name in ("input_ids", "inputs_embeds") if arguments.get(name) is not None), None)
    mask = arguments.get("attention_mask")
    if tokens is None or not isinstance(mask, Tensor) or mask.dim() != 2 or mask.shape[1] < tokens.shape[1]:
        return None
    return mask[:, -tokens.shape[1] :]


def _items(labels: Tensor | None, plain: ModelOutput, of: type[PreTrainedModel]) -> Tensor:
    """What a plain loss is a mean over, counted by example, `(batch,)`."""
    if labels is None:
        some = next(value for name, value in plain.items() if isinstance(value, Tensor) and name != "loss")
        return some.new_ones(some.shape[0], dtype=torch.long)
    if labels.dim() == 2 and of.__name__ in CAUSAL:
        labels = labels[:, 1:]  # the first label is of no prediction
    return (labels != -100).reshape(labels.shape[0], -1).sum(-1)


def __getattr__(name: str) -> Any:
    """A class by its name, as what reads a saved model or a pickle asks for it: made of the plain class if need be."""
    plain = name.removeprefix(ATTACHED_CLASS)
    found = getattr(transformers, plain, None) or getattr(modeling_outputs, plain, None) if plain != name else None
    for kind, make in ((PreTrainedConfig, config_class), (PreTrainedModel, model_class), (ModelOutput, output_class)):
        if isinstance(found, type) and issubclass(found, kind):
            return make(cast(Any, found))
    if hasattr(found, "_backends"):
        return found  # in the place of one that needs a package which is not here, and says so where it is used
    raise AttributeError(f"{__name__} has no {name!r}, and transformers has no class that one of that name is made of.")


__all__ = ["Attached", "base_class", "config_class", "model_class", "output_class", "put_bottlenecks"]
