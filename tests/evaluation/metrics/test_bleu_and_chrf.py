"""BLEU and chrF are sacrebleu's own numbers."""

import pytest
import sacrebleu

from excise.evaluation.metrics import Bleu, Chrf

PREDICTIONS = ["Le professeur parle aux enfants.", "Elle aime la musique.", "", "Un chat dort sur le lit blanc."]
FIRST = ["Le professeur parle avec les enfants.", "Elle adore la musique.", "Oui.", "Un chat dort sur le lit."]
SECOND = ["L'instituteur parle aux enfants.", None, None, "Le chat dort sur le lit blanc."]
RAGGED = [[one] if two is None else [one, two] for one, two in zip(FIRST, SECOND, strict=True)]


def test_bleu_equals_sacrebleu():
    result = Bleu().compute(predictions=PREDICTIONS, references=FIRST)
    assert result["bleu"] == sacrebleu.corpus_bleu(PREDICTIONS, [FIRST]).score
    assert 0 < result["bleu"] < 100


def test_chrf_equals_sacrebleu():
    result = Chrf().compute(predictions=PREDICTIONS, references=FIRST)
    assert result["chrf"] == sacrebleu.corpus_chrf(PREDICTIONS, [FIRST]).score
    assert 0 < result["chrf"] < 100


def test_uneven_numbers_of_references_equal_sacrebleu():
    bleu = Bleu().compute(predictions=PREDICTIONS, references=RAGGED)
    chrf = Chrf().compute(predictions=PREDICTIONS, references=RAGGED)
    assert bleu["bleu"] == sacrebleu.corpus_bleu(PREDICTIONS, [FIRST, SECOND]).score
    assert chrf["chrf"] == sacrebleu.corpus_chrf(PREDICTIONS, [FIRST, SECOND]).score
    assert "nrefs:var" in bleu["bleu_signature"]
    assert "nrefs:var" in chrf["chrf_signature"]


def test_the_options_reach_sacrebleu_and_its_signature():
    shouted = [text.upper() for text in PREDICTIONS]
    bleu = Bleu(tokenize="char", lowercase=True).compute(predictions=shouted, references=FIRST)
    chrf = Chrf(word_order=2, lowercase=True).compute(predictions=shouted, references=FIRST)
    assert bleu["bleu"] == sacrebleu.corpus_bleu(shouted, [FIRST], tokenize="char", lowercase=True).score
    assert chrf["chrf"] == sacrebleu.metrics.CHRF(word_order=2, lowercase=True).corpus_score(shouted, [FIRST]).score
    assert "tok:char" in bleu["bleu_signature"]
    assert "nw:2" in chrf["chrf_signature"]


@pytest.mark.parametrize("metric", [Bleu, Chrf])
def test_a_copy_of_the_reference_scores_100_and_silence_0(metric):
    name = metric.__name__.lower()
    assert metric().compute(predictions=FIRST, references=FIRST)[name] == pytest.approx(100)
    assert metric().compute(predictions=[""] * 4, references=FIRST)[name] == 0
