"""Questions and answers for decoders: rows, prompts, tokens, and sets of what is to be forgotten."""

from excise.data.questions.answer_tokens import answer_tokens, question_inputs
from excise.data.questions.making_sets import question_sets
from excise.data.questions.prompt_format import PromptFormat
from excise.data.questions.question_rows import question_rows
from excise.data.questions.question_sets import QuestionSets

__all__ = ["PromptFormat", "QuestionSets", "answer_tokens", "question_inputs", "question_rows", "question_sets"]
