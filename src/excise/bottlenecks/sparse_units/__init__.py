"""Sparse units: a top-k sparse autoencoder with nothing beside it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bottleneck": ["SparseUnits"],
        "configuration": ["SparseUnitsConfig"],
        "sae_lens": ["read_sae_lens"],
    },
)
