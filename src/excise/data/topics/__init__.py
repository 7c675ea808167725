"""Topic sets: sentences that name what is to be forgotten, their control, and what is to stay."""

from excise.data.topics.association import AssociatedWord, associated_words, topic_words
from excise.data.topics.building import topic_sets
from excise.data.topics.null import null_sets
from excise.data.topics.sets import TopicSets

__all__ = ["AssociatedWord", "TopicSets", "associated_words", "null_sets", "topic_sets", "topic_words"]
