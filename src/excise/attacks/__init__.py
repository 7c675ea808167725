"""Attacks: what tries to bring back what was forgotten."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "membership": ["ClassLosses", "ClassSeen", "ExampleMembership", "class_membership_inference"],
        "text_membership": ["TextMembership"],
    },
)
