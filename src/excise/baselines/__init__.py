"""Baselines of unlearning: retraining, fine-tuning, NegGrad+, NPO, SCRUB, decoders' methods, rows, output filter."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["hyperparameters"],
    submod_attrs={
        "answers": ["forget_answers"],
        "distillation": ["scrub"],
        "embedding_rows": ["erase_embedding_rows"],
        "finetuning": ["finetune", "retrain"],
        "history": ["BaselineRun"],
        "hyperparameters": ["Hyperparameters"],
        "linear": ["LinearClassifier", "LinearClassifierConfig"],
        "negative_gradient": ["gradient_difference"],
        "null_models": ["never_saw", "without_topic"],
        "output_filter": ["filter_outputs"],
        "preference": ["npo"],
        "rewind": ["scrub_rewind"],
        "table": ["BaselineTable"],
        "unit_clamping": ["clamp_units"],
    },
)
