"""Attacks: what tries to bring back what was forgotten."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attacked": ["attack_deletion"],
        "membership": ["ClassLosses", "class_membership_inference"],
        "sets": ["AttackSets"],
        "suite": ["run_attacks"],
    },
)
