"""Discrete bottlenecks: modules that pass information on as a few codes of many."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Bottleneck", "BottleneckOutput"],
        "codebook_sae": ["CodebookSAE", "CodebookSAEConfig"],
        "codebook_sae.lookup": ["top_codes"],
        "key_value": ["KeyValueBottleneck", "KeyValueConfig"],
        "registry": ["register_kind"],
        "site": ["bottlenecks"],
        "sparse_units": ["SparseUnits", "SparseUnitsConfig", "read_sae_lens"],
        "tracing": ["trace"],
    },
)
