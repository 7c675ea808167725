"""ROUGE is that of the package `rouge_score`, as OpenUnlearning takes it."""

import random

import pytest

from excise.report.rouge import rouge_l_recall, rouge_scores

WORDS = "the The author's books running runs geology 1984 très don't a of Ameen, Hina. written-by".split()


def test_scores_are_those_of_the_package():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    draw = random.Random(0)
    for _ in range(50):
        text, reference = (" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(2))
        theirs = scorer.score(reference, text)
        wanted = (theirs["rouge1"].recall, theirs["rougeL"].fmeasure, theirs["rougeL"].recall)
        assert tuple(rouge_scores(text, reference).values()) == pytest.approx(wanted), (text, reference)
        assert rouge_l_recall(text, reference) == pytest.approx(theirs["rougeL"].recall)
