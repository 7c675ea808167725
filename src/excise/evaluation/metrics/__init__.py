"""Metrics of generated text as `evaluate.Metric` classes. None of them needs a network.

Example:
    >>> result = Bleu().compute(predictions=["le professeur parle bien"], references=["le professeur parle mal"])
    >>> round(result["bleu"], 2)
    59.46
"""

from excise.evaluation.metrics.bart_score import BartScore
from excise.evaluation.metrics.bert_score import BertScore
from excise.evaluation.metrics.bleu import Bleu
from excise.evaluation.metrics.chrf import Chrf
from excise.evaluation.metrics.meteor import Meteor
from excise.evaluation.metrics.topic_recall import TopicRecall

__all__ = ["BartScore", "BertScore", "Bleu", "Chrf", "Meteor", "TopicRecall"]
