"""What unlearning by a bottleneck is held against: a plain model, retrained, fine-tuned, or unlearned by gradients."""

from excise.baselines import hyperparameters
from excise.baselines.distillation import scrub
from excise.baselines.finetuning import finetune, retrain
from excise.baselines.history import BaselineRun, Epoch, EpochHistory
from excise.baselines.hyperparameters import Hyperparameters
from excise.baselines.linear import LinearClassifier, LinearClassifierConfig
from excise.baselines.negative_gradient import gradient_difference
from excise.baselines.rewind import RewoundRun, scrub_rewind
from excise.evaluation.predictions import accuracy, class_accuracy

__all__ = [
    "BaselineRun",
    "Epoch",
    "EpochHistory",
    "Hyperparameters",
    "LinearClassifier",
    "LinearClassifierConfig",
    "RewoundRun",
    "accuracy",
    "class_accuracy",
    "finetune",
    "gradient_difference",
    "hyperparameters",
    "retrain",
    "scrub",
    "scrub_rewind",
]
