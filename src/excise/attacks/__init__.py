"""Attacks: what tries to bring back what was forgotten."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "guessed": ["Guessed", "auc_of_deleted"],
        "membership": ["ClassLosses", "ClassSeen", "ExampleMembership", "class_membership_inference"],
        "probed": ["Probed"],
        "said_otherwise": ["SaidOtherwise"],
        "text_membership": ["TextMembership"],
    },
)
