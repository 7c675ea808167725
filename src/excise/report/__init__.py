"""Report of an unlearning: record, page, figures and model card."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attacks": ["AttackReport", "AttackResult"],
        "card": ["model_card"],
        "frontier": ["Frontier"],
        "measures": ["Condition"],
        "open_unlearning": ["read_open_unlearning", "write_open_unlearning"],
        "page": ["write_report"],
        "plots": ["plot_frontier", "plot_sweep"],
        "question_scores": ["QuestionScores"],
        "record": ["Record"],
        "relearning": ["plot_relearning"],
        "results": ["Evaluation"],
        "sweep": ["Sweep"],
    },
)
