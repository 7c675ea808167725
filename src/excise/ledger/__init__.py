"""The requests to forget, the masks that they put in force, and what else remembers the codes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ledger": ["Ledger", "MaskMismatchError", "Request"],
    },
)
