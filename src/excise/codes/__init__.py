"""Search for the codes of a topic: counts, tests of enrichment, selections, and what codes stand for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "budget": ["select_within_budget"],
        "enrichment": ["Enrichment"],
        "finder": ["CodeFinder"],
        "index": ["CodeIndex"],
        "meanings": ["code_images", "code_tokens", "image_meanings", "token_meanings"],
        "pair_counts": ["ClassCounts", "PairCounts"],
        "search": ["PRESETS", "Search", "SearchCounts"],
        "selection": ["Selection", "random_like"],
        "topic_counts": ["TopicCounts"],
    },
)
