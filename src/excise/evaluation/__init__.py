"""What an unlearning did: scores and outputs before and after, beside the controls that tell whether to believe it."""

from excise.evaluation.classes import evaluate_classes
from excise.evaluation.classification import predict_classes
from excise.evaluation.evaluate import evaluate
from excise.evaluation.examples_table import examples_table
from excise.evaluation.frontier import frontier
from excise.evaluation.generation import generate_texts
from excise.evaluation.runtime import Runtimes, runtimes
from excise.evaluation.sweep import Sweep, sweep
from excise.evaluation.synonyms import synonyms
from excise.evaluation.topics_table import TopicsTable, topics_table
from excise.report.frontier import Frontier
from excise.report.results import Evaluation

__all__ = [
    "Evaluation",
    "Frontier",
    "Runtimes",
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
]
