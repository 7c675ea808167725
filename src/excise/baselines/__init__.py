"""What unlearning by a bottleneck is held against: a plain model, retrained, fine-tuned, or unlearned by gradients."""

from excise.baselines.linear import LinearClassifier, LinearClassifierConfig
from excise.predictions import accuracy, class_accuracy

__all__ = [
    "LinearClassifier",
    "LinearClassifierConfig",
    "accuracy",
    "class_accuracy",
]
