"""How an unlearned model is shared: as a folder, on the Hub, and with nothing deleted left in any byte."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bundle": ["check_bundle", "write_bundle"],
        "erasure": ["ErasedRows", "Leftover"],
        "hub": [
            "Audit",
            "Finding",
            "LeftoversError",
            "NotPushedError",
            "PushInfo",
            "audit_repo",
            "download",
            "publish",
            "push_bundle",
        ],
    },
)
