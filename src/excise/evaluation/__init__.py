"""Evaluation of an unlearning: scores and outputs before and after, beside controls, with tables and figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["metrics"],
    submod_attrs={
        "decoder_answers": ["evaluate_answers"],
        "classes": ["evaluate_classes", "predict_classes"],
        "frontiers": ["frontier"],
        "predictions": ["class_accuracy", "example_losses"],
        "questions": ["evaluate_questions"],
        "sweeps": ["sweep"],
        "synonym_sweep": ["synonyms"],
        "tables": ["TopicsTable", "examples_table", "topics_table"],
        "texts": ["evaluate", "generate_texts"],
        "timing": ["runtimes"],
    },
)
