"""Deletion that goes deeper than codes: embedding rows of the topic's own pieces, and distillation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "distilling": ["distil"],
        "topic_rows": ["choose_rows"],
        "vocabulary": ["drop_erased_pieces"],
    },
)
