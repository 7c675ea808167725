"""The settings of bottlenecks inside a model's config: filled in and checked."""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from excise.bottlenecks.configuration import CodebookSAEConfig, KeyValueConfig

Settings = TypeVar("Settings", CodebookSAEConfig, KeyValueConfig)


def own_settings(bottleneck: dict[str, Any] | Settings | None, width: int, kind: type[Settings]) -> Settings:
    """A bottleneck's settings for activations of a width, if it has none of its own; a copy of what is given."""
    if isinstance(bottleneck, kind):
        settings = copy.deepcopy(bottleneck)  # the caller's own may go into another model
    else:
        settings = kind(**(bottleneck or {}))
    if settings.hidden_size is None:
        settings.hidden_size = width
    return settings


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


def check_width(bottleneck: CodebookSAEConfig, name: str, width: int) -> None:
    """Refuses a bottleneck for activations of another width than the model's, which goes by a name in its config."""
    if bottleneck.hidden_size != width:
        raise ValueError(
            f"The bottleneck's `hidden_size` is {bottleneck.hidden_size}, but the model's `{name}` is {width}. "
            "Leave `hidden_size` out to have it filled in."
        )
