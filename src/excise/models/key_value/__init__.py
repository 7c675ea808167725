"""Image classifiers with a key-value bottleneck on a frozen encoder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "configuration_key_value": ["KeyValueVisionConfig"],
        "modeling_key_value": ["KeyValueClassifierOutput", "KeyValueForImageClassification"],
    },
)
