"""Deletion that goes deeper than codes: embedding rows of the topic's own pieces."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "rows": ["RowChoice", "choose_rows"],
        "vocabulary": ["drop_erased_pieces"],
    },
)
