"""Attacks: what tries to bring back what was forgotten."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "asked_sets": ["AskedSets"],
        "attack_sets": ["AttackSets"],
        "guessed": ["Guessed", "auc_of_deleted"],
        "learnt_again": ["LearntAgain"],
        "left_out": ["LeftOut"],
        "made_again": ["MadeAgain"],
        "membership": ["ClassLosses", "ClassSeen", "ExampleMembership", "class_membership_inference"],
        "partial_forgetting": ["choose_partial"],
        "probed": ["Probed"],
        "rounded": ["Rounded"],
        "said_otherwise": ["SaidOtherwise"],
        "suite": ["run_attacks"],
        "text_membership": ["TextMembership"],
    },
)
