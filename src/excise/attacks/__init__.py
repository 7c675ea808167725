"""Attacks: what tries to bring back what was forgotten."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "learnt_again": ["LearntAgain"],
        "left_out": ["LeftOut"],
        "made_again": ["MadeAgain"],
        "membership": ["ClassLosses", "class_membership_inference"],
        "rounded": ["Rounded"],
    },
)
