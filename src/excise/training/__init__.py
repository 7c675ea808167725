"""Training of models with bottlenecks: codes and keys from data, callbacks, optimizer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "callback": ["BottleneckCallback"],
        "classifier": ["train_classifier"],
        "initialize": ["initialize_codes"],
        "interruptions": ["last_whole_checkpoint"],
        "key_value_presets": ["KEY_VALUE_PRESETS"],
        "keys": ["initialize_keys"],
        "optimizer": ["adamw"],
        "pair_counting": ["PairCountCallback"],
        "similarity": ["set_min_similarity"],
        "sparse_optimizer": ["sparse_optimizer"],
        "trainable": ["train_only"],
    },
)
