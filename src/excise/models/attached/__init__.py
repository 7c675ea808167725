"""Bottlenecks attached to any model of transformers, as an adapter is."""

import importlib
from typing import Any

import lazy_loader

_public, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attach": ["attach", "detach"],
        "families": ["families"],
    },
)


def __getattr__(name: str) -> Any:
    """A public name, or a class that stands in no module, as `BottleneckedLlamaForCausalLM`."""
    if name.startswith("Bottlenecked"):
        return getattr(importlib.import_module(f"{__name__}.subclasses"), name)
    return _public(name)
