"""Registry of the kinds of bottleneck, by the `model_type` of their settings."""

import copy
from importlib import import_module
from typing import Any, TypeVar

from transformers import PreTrainedConfig

from excise.bottlenecks.base import Bottleneck

# A kind of bottleneck is a folder, and a line here: where its class is registered.
KINDS = {
    "codebook_sae": "excise.bottlenecks.codebook_sae.bottleneck",
    "key_value_bottleneck": "excise.bottlenecks.key_value.bottleneck",
    "sparse_units": "excise.bottlenecks.sparse_units.bottleneck",
}
REGISTERED: dict[str, type[Bottleneck]] = {}

Class = TypeVar("Class", bound=type[Bottleneck])


def register_kind(bottleneck_class: Class) -> Class:
    """Makes a subclass of `Bottleneck` known by the `model_type` of its `config_class`; a decorator.

    Models that hold bottlenecks then take its settings. A kind of your own must be imported before such a model is
    loaded. A class that is defined again, as in a notebook, takes the place of the one before.

    Raises:
        ValueError: if the class has no settings with a `model_type`, or no `kind` and `title`; or another class has
            that `model_type` or `kind`.
    """
    model_type = getattr(getattr(bottleneck_class, "config_class", None), "model_type", None)
    kind = getattr(bottleneck_class, "kind", None)
    name = _name(bottleneck_class)
    if not (model_type and kind and getattr(bottleneck_class, "title", None)):
        raise ValueError(
            f"{name} is no kind of bottleneck yet: give it a `config_class` with a `model_type`, a `kind`, a `title`."
        )
    for other_type, other in REGISTERED.items():
        if (other_type == model_type or other.kind == kind) and _name(other) != name:
            raise ValueError(
                f"{name} has settings of type {model_type!r} and the kind {kind!r}, and so does {_name(other)}, one of "
                "both at least. Give it a `model_type` and a `kind` of its own."
            )
    REGISTERED[model_type] = bottleneck_class
    return bottleneck_class


def _name(bottleneck_class: type[Bottleneck]) -> str:
    return f"{bottleneck_class.__module__}.{bottleneck_class.__qualname__}"


def kind_class(model_type: str) -> type[Bottleneck]:
    """The class of a kind of bottleneck.

    Args:
        model_type: of its settings.

    Raises:
        ValueError: if no such kind is registered.
    """
    if model_type not in REGISTERED and model_type in KINDS:
        import_module(KINDS[model_type])
    if model_type not in REGISTERED:
        raise ValueError(
            f"There is no kind of bottleneck with settings of type {model_type!r}; known are "
            f"{sorted({*KINDS, *REGISTERED})}. Import the module that registers it first."
        )
    return REGISTERED[model_type]


def kind_named(kind: str) -> type[Bottleneck] | None:
    """The class of the kind that goes by a name in records; `None` if none that is registered does."""
    for module in KINDS.values():
        import_module(module)
    return next((found for found in REGISTERED.values() if found.kind == kind), None)


def kind_title(kind: str) -> str:
    """What reports and cards call the kind that goes by a name in records."""
    return getattr(kind_named(kind), "title", kind)


def make_bottleneck(settings: PreTrainedConfig) -> Bottleneck:
    """A new bottleneck of the kind that its settings are of."""
    return kind_class(settings.model_type)(settings)


def own_settings(
    bottleneck: dict[str, Any] | PreTrainedConfig | None, width: int | None, default: type[PreTrainedConfig]
) -> PreTrainedConfig:
    """A bottleneck's settings inside a model's config.

    Args:
        bottleneck: settings of any kind, as such or as JSON values; a copy of them is returned.
        width: of the activations, where the settings have none of their own; `None` where it is not known.
        default: the class of settings where nothing is given, or values that do not tell their kind.
    """
    if isinstance(bottleneck, PreTrainedConfig):
        settings = copy.deepcopy(bottleneck)  # the caller's own may go into another model
    else:
        values = dict(bottleneck or {})
        kind = values.get("model_type", default.model_type)
        settings = (default if kind == default.model_type else kind_class(kind).config_class)(**values)
    if settings.hidden_size is None:
        settings.hidden_size = width
    return settings
