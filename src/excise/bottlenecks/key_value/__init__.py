"""The discrete key-value bottleneck."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"bottleneck": ["KeyValueBottleneck", "KeyValueOutput"], "configuration": ["KeyValueConfig"]},
)
