"""Baselines on the answers of decoder language models: GA, GradDiff, NPO, SimNPO, IdkDPO, RMU and UNDIAL."""

from excise.baselines.answers.answer_forgetting import forget_answers
from excise.baselines.answers.answer_methods import METHODS, answer_method

__all__ = ["METHODS", "answer_method", "forget_answers"]
