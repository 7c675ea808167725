"""Baselines of unlearning: retraining, fine-tuning, NegGrad+, SCRUB and SCRUB+R."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["hyperparameters"],
    submod_attrs={
        "distillation": ["scrub"],
        "finetuning": ["finetune", "retrain"],
        "history": ["BaselineRun"],
        "hyperparameters": ["Hyperparameters"],
        "linear": ["LinearClassifier", "LinearClassifierConfig"],
        "negative_gradient": ["gradient_difference"],
        "rewind": ["scrub_rewind"],
    },
)
