"""Machine unlearning for transformers models through discrete bottlenecks."""

from importlib import import_module
from typing import Any

import lazy_loader

from excise.models import auto

ROOMS = [
    "attacks",
    "baselines",
    "bottlenecks",
    "codes",
    "data",
    "deletion",
    "evaluation",
    "ledger",
    "models",
    "report",
    "sharing",
    "statistics",
    "training",
]

_name, _, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bottlenecks": ["CodebookSAEConfig", "KeyValueConfig", "SparseUnitsConfig"],
        "codes": ["Enrichment", "PRESETS", "PairCounts", "Search", "Selection"],
        "data": ["ClassSets", "TopicSets", "class_sets", "topic_sets"],
        "evaluation": [
            "evaluate",
            "evaluate_classes",
            "frontier",
            "sweep",
        ],
        "ledger": ["Ledger", "MaskMismatchError", "Request"],
        "models": [
            "CodebookCLIPForImageClassification",
            "CodebookCLIPModel",
            "CodebookCLIPVisionModel",
            "CodebookT5ForConditionalGeneration",
            "KeyValueForImageClassification",
            "attach",
            "detach",
            "encode_images",
            "select_pairs",
        ],
        "report": ["Condition", "Evaluation", "Frontier", "Record", "Sweep"],
        "sharing": ["ErasedRows", "LeftoversError", "NotPushedError", "audit_repo", "check_bundle"],
        "training": [
            "BottleneckCallback",
            "PairCountCallback",
            "initialize_codes",
            "initialize_keys",
            "set_min_similarity",
        ],
        "unlearner": ["Unlearner"],
    },
)
__all__ = sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # takes as long as all the rest

        return version("excise")
    return import_module(f"excise.{name}") if name in ROOMS else _name(name)


def __dir__() -> list[str]:
    return [*__all__, *ROOMS]


auto.register()
