"""Machine unlearning for transformers models through discrete bottlenecks."""

import lazy_loader

from excise.models import auto

ROOMS = [
    "attacks",
    "baselines",
    "bottlenecks",
    "codes",
    "data",
    "evaluation",
    "ledger",
    "models",
    "report",
    "sharing",
    "statistics",
    "training",
]

_name, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=ROOMS,
    submod_attrs={
        "bottlenecks": ["CodebookSAEConfig", "KeyValueConfig"],
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
# The rooms can be had as `excise.codes` and so on; what a star import gives is the names.
__all__ = sorted({*__all__, "__version__"} - {*ROOMS})


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        return version("excise")
    return _name(name)


auto.register()
