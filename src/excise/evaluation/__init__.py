"""What an unlearning did: scores and outputs before and after, beside the controls that tell whether to believe it."""

from excise.evaluation.evaluate import evaluate
from excise.evaluation.generation import generate_texts
from excise.evaluation.result import Evaluation

__all__ = ["Evaluation", "evaluate", "generate_texts"]
