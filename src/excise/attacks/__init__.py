"""Attacks on a model that was made to forget: what can still be told of what it was trained on."""

from excise.attacks.membership import ClassLosses, ClassMembership, class_membership_inference
from excise.evaluation.predictions import example_losses

__all__ = ["ClassLosses", "ClassMembership", "class_membership_inference", "example_losses"]
