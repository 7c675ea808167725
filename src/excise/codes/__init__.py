"""How the codes of a topic are found: counts, tests of enrichment, selections, and what codes stand for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "budget": ["select_within_budget"],
        "count_table": ["CountTable"],
        "counts": ["CodeCounts", "PairedCounts"],
        "enrichment": ["Enrichment", "enrich_counts"],
        "finder": ["CodeFinder"],
        "meanings": ["code_images", "code_tokens", "image_meanings", "token_meanings"],
        "pair_counts": ["ClassCounts", "PairCounts"],
        "search": ["PRESETS", "Search", "SearchCounts"],
        "selection": ["Selection", "by_activations", "random_like"],
        "topic_counts": ["TopicCounts"],
    },
)
