"""What an unlearning did: scores and outputs before and after, beside the controls that tell whether to believe it."""

from excise.evaluation.classes import evaluate_classes, predict_classes
from excise.evaluation.frontiers import frontier
from excise.evaluation.sweeps import Sweep, sweep
from excise.evaluation.synonym_sweep import synonyms
from excise.evaluation.tables import TopicsTable, examples_table, topics_table
from excise.evaluation.texts import evaluate, generate_texts
from excise.evaluation.timing import Runtimes, runtimes
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
