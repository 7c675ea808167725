"""Evaluation of a decoder's answers: scores by token, generations, and TOFU's measures in one call."""

from excise.evaluation.questions.answer_scores import AnswerScores, answer_scores, generated_answers
from excise.evaluation.questions.benchmark import evaluate_questions

__all__ = ["AnswerScores", "answer_scores", "evaluate_questions", "generated_answers"]
