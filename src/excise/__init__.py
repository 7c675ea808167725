"""Machine unlearning for transformers models through discrete bottlenecks."""

import lazy_loader

from excise.models import auto

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["functional", "metrics"],
    submod_attrs={
        "bottlenecks": ["CodebookSAE", "CodebookSAEConfig", "CodebookSAEOutput"],
        "budget": ["select_within_budget"],
        "enrichment": ["Enrichment", "Selection", "enrich_counts"],
        "ledger": ["Ledger", "MaskMismatchError", "Request"],
        "models.codebook_t5": ["CodebookT5Config", "CodebookT5ForConditionalGeneration"],
        "profile": ["Profile"],
        "topics": ["TopicSets", "topic_sets"],
        "trace": ["trace"],
        "training": ["BottleneckCallback", "initialize_codes"],
        "unlearner": ["Unlearner"],
    },
)

auto.register()
