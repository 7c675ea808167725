"""Plain models of transformers: names that keep them from being filled with weights of which something was removed."""

import copy
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import transformers
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import PrefixChange, WeightRenaming

from excise.bottlenecks.site import is_of_bottleneck
from excise.storage.expected import expects

PREFIX = "excise."
# What `from_pretrained` does with names; `key_mapping` is transformers' own argument.
KEY_MAPPING = {r"^excise\.(.+)": r"\1"}
# Settings that a plain model does not have, or has of its own.
NOT_PLAIN = (
    "architectures",
    "auto_map",
    "base_checkpoint",
    "base_model",
    "bottleneck",
    "bottleneck_layers",
    "model_type",
    "plain_type",
    "unlearning",
)
# Of models that hold several kinds of plain one, those that are not what they subclass: `plain_type`: its class.
OTHER_CLASSES = {"mt5": "MT5ForConditionalGeneration", "umt5": "UMT5ForConditionalGeneration"}


def own_name(name: str) -> str:
    """The name that a tensor has in a model, given the one in a file."""
    return name.removeprefix(PREFIX)


def hidden_name(name: str) -> str:
    """The name of a tensor in a file that no plain model may be filled from.

    The bottlenecks' own are hidden too: who reads the file by names, as accelerate does, then has no masks either, and
    the guard refuses to go on with a model that is half there.

    Example:
        >>> hidden_name("shared.weight"), own_name("excise.shared.weight")
        ('excise.shared.weight', 'shared.weight')
    """
    return PREFIX + own_name(name)


class Hidden(WeightRenaming):
    """Gives tensors their hidden names: a reversed conversion, as transformers applies to what it saves."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("^$", "^$")

    def rename_source_key(self, source_key: str) -> tuple[str, str | None]:
        """The hidden name, and that no pattern made it."""
        return hidden_name(source_key), None

    def reverse_transform(self) -> "Hidden":
        """Itself: in a model it stands among conversions that are reversed when they are used."""
        return self


@contextmanager
def saved_names(model: Any, hidden: bool) -> Iterator[None]:
    """A context in which `save_pretrained` of transformers gives tensors hidden names, or those that they have.

    Args:
        model: whose tensors are saved.
        hidden: whether to hide them.
    """
    before = getattr(model, "_weight_conversions", None)
    if before is None:  # as transformers does where a model was not loaded
        mapped = get_model_conversion_mapping(model, add_legacy=False)
        others = [conversion for conversion in mapped if not isinstance(conversion, PrefixChange)]
    else:
        sources = [[pattern] for pattern in KEY_MAPPING]
        others = [conversion for conversion in before if conversion.source_patterns not in sources]
    model._weight_conversions = [*([Hidden()] if hidden else []), *others] or None
    try:
        yield
    finally:
        model._weight_conversions = before


def read_hidden_names(_: Any, state_dict: MutableMapping[str, Tensor], prefix: str, *__: Any) -> None:
    """Hook before `load_state_dict`: hidden names in what is loaded become the model's own."""
    start = prefix + PREFIX
    for name in [name for name in state_dict if name.startswith(start)]:
        state_dict[prefix + name.removeprefix(start)] = state_dict.pop(name)


@expects("model")
def export_plain(model: PreTrainedModel, *, brings_back_what_was_forgotten: bool = False) -> PreTrainedModel:
    """The plain model of transformers with a model's weights, without its bottlenecks.

    Nothing that was masked or deleted is forgotten there: all that codes do is done by the bottlenecks that it lacks.

    Args:
        model: a model with bottlenecks in its layers.
        brings_back_what_was_forgotten: say `True` to show that you know.

    Returns:
        A new model, of copied weights, in eval mode where `model` is.

    Raises:
        ValueError: if you do not say so, or the model is read from its bottleneck and has no plain model.
    """
    plain_class: Any = next((c for c in type(model).__mro__ if c.__module__.startswith("transformers.models.")), None)
    other = OTHER_CLASSES.get(getattr(model.config, "plain_type", ""))
    plain_class = getattr(transformers, other) if other else plain_class
    if plain_class is None or plain_class.config_class is None:
        raise ValueError(
            f"A {type(model).__name__} is read from its bottleneck: there is no plain model with what is left. Its "
            "encoder, which was never changed, is `model.encoder`."
        )
    if brings_back_what_was_forgotten is not True:
        raise ValueError(
            "The plain model has no bottlenecks, so whatever was masked or deleted is not forgotten in it. If that is "
            "what you want, say `export_plain(model, brings_back_what_was_forgotten=True)`."
        )
    own = {name: tensor.clone() for name, tensor in model.state_dict().items() if not is_of_bottleneck(name)}
    config = plain_class.config_class(**_plain_settings(model.config.to_dict()))
    plain: Any = plain_class.from_pretrained(None, config=config, state_dict=own, dtype=model.dtype)
    if model.can_generate():
        plain.generation_config = copy.deepcopy(model.generation_config)
    return plain.to(model.device).train(model.training)


def _plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain_settings(value) if name.endswith("_config") and isinstance(value, Mapping) else value
        for name, value in settings.items()
        if name not in NOT_PLAIN
    }
