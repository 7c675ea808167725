"""Topic and class sets: what is to be forgotten, its control, and what is to stay."""

from excise.topics.association import AssociatedWord, associated_words, topic_words
from excise.topics.base import ForgetSets
from excise.topics.building import topic_sets
from excise.topics.class_building import class_sets
from excise.topics.classes import ClassSets
from excise.topics.null import null_sets
from excise.topics.sets import TopicSets

__all__ = [
    "AssociatedWord",
    "ClassSets",
    "ForgetSets",
    "TopicSets",
    "associated_words",
    "class_sets",
    "null_sets",
    "topic_sets",
    "topic_words",
]
