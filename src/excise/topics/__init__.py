"""Topic and class sets: what is to be forgotten, its control, and what is to stay."""

from .association import AssociatedWord, associated_words, topic_words
from .base import ForgetSets
from .building import topic_sets
from .class_building import class_sets
from .classes import ClassSets
from .null import null_sets
from .sets import TopicSets

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
