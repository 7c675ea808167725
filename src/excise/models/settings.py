"""Checks of the settings in a model's config."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from transformers import PreTrainedConfig

Part = TypeVar("Part", bound=PreTrainedConfig)


def sub_config(part: dict[str, Any] | Part | None) -> Part:
    """The settings within a config that is made: what is given as a dict, or not at all, is settings from then on."""
    return cast(Part, part)


def check_layers(layers: Sequence[int], num_layers: int, what: str) -> None:
    """Refuses sites that the model does not have.

    Args:
        layers: numbers of the layers that get a bottleneck.
        num_layers: layers that there are.
        what: what a layer is called, as `encoder block`.
    """
    if not layers or len(set(layers)) != len(layers) or not all(0 <= i < num_layers for i in layers):
        raise ValueError(
            f"`bottleneck_layers` is {list(layers)}; it must name one or more different {what}s, from 0 to "
            f"{num_layers - 1} in this model."
        )


def check_width(bottleneck: PreTrainedConfig, name: str, width: int) -> None:
    """Refuses a bottleneck that does not sit in a layer, or for activations of another width than the model's.

    Args:
        bottleneck: its settings.
        name: what the width is called in the model's config.
        width: of the model's activations.
    """
    if not hasattr(bottleneck, "penalty"):
        raise ValueError(
            f"The settings are of another kind of bottleneck: a {bottleneck.model_type!r} does not sit in a layer of "
            "this model. Give settings that have a `penalty`, such as a CodebookSAEConfig."
        )
    if bottleneck.hidden_size != width:
        raise ValueError(
            f"The bottleneck's `hidden_size` is {bottleneck.hidden_size}, but the model's `{name}` is {width}. "
            "Leave `hidden_size` out to have it filled in."
        )
