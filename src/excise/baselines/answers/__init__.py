"""Baselines on the answers of decoder language models: GA, GradDiff, NPO, SimNPO, IdkDPO, RMU and UNDIAL."""

from excise.baselines.answers.answer_methods import METHODS, answer_method
from excise.baselines.answers.forgetting import forget_answers

__all__ = ["METHODS", "answer_method", "forget_answers"]
