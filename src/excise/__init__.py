"""Machine unlearning for transformers models through discrete bottlenecks."""

import lazy_loader

from excise.models import auto

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "attacks",
        "baselines",
        "bottlenecks",
        "codes",
        "data",
        "evaluation",
        "models",
        "report",
        "sharing",
        "statistics",
        "training",
    ],
    submod_attrs={
        "bottlenecks": [
            "CodebookSAE",
            "CodebookSAEConfig",
            "KeyValueBottleneck",
            "KeyValueConfig",
            "KeyValueOutput",
        ],
        "bottlenecks.tracing": ["trace"],
        "codes.budget": ["select_within_budget"],
        "codes.enrichment": ["Enrichment", "Selection", "enrich_counts"],
        "codes.meanings": ["code_images", "code_tokens", "image_meanings", "token_meanings"],
        "codes.pair_counts": ["PairCounts"],
        "codes.search": ["PRESETS", "Search", "SearchCounts"],
        "codes.topic_counts": ["TopicCounts"],
        "data": ["ClassSets", "TopicSets", "class_sets", "topic_sets"],
        "evaluation": [
            "Evaluation",
            "Frontier",
            "Sweep",
            "TopicsTable",
            "evaluate",
            "evaluate_classes",
            "examples_table",
            "frontier",
            "generate_texts",
            "predict_classes",
            "runtimes",
            "sweep",
            "synonyms",
            "topics_table",
        ],
        "ledger": ["Ledger", "MaskMismatchError", "Request"],
        "models.codebook_clip": [
            "CodebookCLIPConfig",
            "CodebookCLIPForImageClassification",
            "CodebookCLIPModel",
            "CodebookCLIPVisionConfig",
            "CodebookCLIPVisionModel",
        ],
        "models.codebook_t5": ["CodebookT5Config", "CodebookT5ForConditionalGeneration"],
        "models.key_value": ["KeyValueForImageClassification", "KeyValueVisionConfig"],
        "models.key_value.encodings": ["encode_images"],
        "models.key_value.pairs": ["select_pairs"],
        "report": ["Record", "write_report"],
        "sharing.bundle": ["check_bundle"],
        "sharing.erasure": ["ErasedRows"],
        "sharing.hub": ["LeftoversError", "NotPushedError", "audit_repo", "push_bundle"],
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

auto.register()
