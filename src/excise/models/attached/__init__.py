"""Bottlenecks attached to any model of transformers, as an adapter is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attach": ["attach", "detach"],
        "families": ["families"],
    },
)
