"""Sharing of an unlearned model: as a folder, on the Hub, and with nothing deleted left in any byte."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bundle": ["check_bundle", "write_bundle"],
        "erasure": ["ErasedRows"],
        "hub": ["LeftoversError", "NotPushedError", "audit_repo", "publish", "push_bundle"],
    },
)
