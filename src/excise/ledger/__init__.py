"""The ledger of requests to forget, and the masks that it puts in force."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ledger": ["Ledger", "Request"],
        "masks": ["MaskMismatchError"],
    },
)
