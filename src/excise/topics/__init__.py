"""Topic sets: what is to be forgotten, its control, and what is to stay."""

from .association import AssociatedWord, associated_words, topic_words
from .building import topic_sets
from .null import null_sets
from .sets import TopicSets

__all__ = ["AssociatedWord", "TopicSets", "associated_words", "null_sets", "topic_sets", "topic_words"]
