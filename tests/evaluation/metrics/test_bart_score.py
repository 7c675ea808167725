"""BARTScore against a computation by hand."""

from math import log

import pytest
import torch
from transformers import AutoTokenizer, BartForConditionalGeneration

from excise.evaluation.metrics import BartScore

PREDICTIONS = ["le chat dort ici", "un chien", "le professeur parle bien . !", ""]
REFERENCES = ["le chat dort", "un chien mange", "un professeur parle , bien", "le chien dort bien !"]


@pytest.fixture(scope="module")
def by_hand(bart_folder):
    """The mean log-probability of a text given another, one token at a time."""
    bart = BartForConditionalGeneration.from_pretrained(bart_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(bart_folder)

    @torch.no_grad()
    def log_likelihood(scored, given):
        inputs, total = tokenizer(given, return_tensors="pt").input_ids, 0.0
        before, tokens = [bart.config.decoder_start_token_id], tokenizer(scored).input_ids
        for token in tokens:
            logits = bart(input_ids=inputs, decoder_input_ids=torch.tensor([before])).logits[0, -1]
            total += log(logits.softmax(-1)[token].item())
            before.append(token)
        return total / len(tokens)

    return log_likelihood


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def compute(folder, references=REFERENCES, predictions=PREDICTIONS, **settings):
    return BartScore(str(folder), **settings).compute(predictions=predictions, references=references)["bart_score"]


def test_each_direction_equals_the_computation_by_hand(bart_folder, by_hand):
    pairs = list(zip(PREDICTIONS, REFERENCES, strict=True))
    recall = mean(by_hand(reference, given=prediction) for prediction, reference in pairs)
    precision = mean(by_hand(prediction, given=reference) for prediction, reference in pairs)
    assert abs(recall - precision) > 1e-2
    assert compute(bart_folder) == pytest.approx(recall, abs=1e-5)
    assert compute(bart_folder, direction="recall") == pytest.approx(recall, abs=1e-5)
    assert compute(bart_folder, direction="precision") == pytest.approx(precision, abs=1e-5)
    assert compute(bart_folder, direction="f") == pytest.approx((recall + precision) / 2, abs=1e-5)


def test_padding_and_batch_size_do_not_count(bart_folder):
    one_by_one = compute(bart_folder, batch_size=1)
    assert compute(bart_folder, batch_size=4) == pytest.approx(one_by_one, abs=1e-5)
    assert compute(bart_folder, batch_size=3) == pytest.approx(one_by_one, abs=1e-5)


def test_the_best_of_several_references_counts(bart_folder, by_hand):
    groups = [["le chat dort", "le chat"], ["un chien", "bien ! !", "une chat"]]
    predictions = PREDICTIONS[:2]
    expected = mean(
        max(by_hand(reference, given=prediction) for reference in group)
        for prediction, group in zip(predictions, groups, strict=True)
    )
    assert compute(bart_folder, groups, predictions) == pytest.approx(expected, abs=1e-5)


def test_a_text_longer_than_the_model_is_cut_off(bart_folder):
    short, long = "chat " * 28, "chat " * 28 + "dort " * 40
    assert compute(bart_folder, [long], [long]) == pytest.approx(compute(bart_folder, [short], [short]), abs=1e-6)


def test_the_result_says_which_model_and_direction_and_repeats_to_the_bit(bart_folder):
    metric = BartScore(str(bart_folder), direction="f")
    inputs = {"predictions": PREDICTIONS, "references": REFERENCES}
    result = metric.compute(**inputs)
    assert result["bart_score_signature"] == f"model:{bart_folder.name}|direction:f|max_length:30"
    assert metric.compute(**inputs) == result


def test_an_unknown_direction_is_refused(bart_folder):
    with pytest.raises(ValueError, match="direction is 'backwards': expected one of recall, precision, f"):
        BartScore(str(bart_folder), direction="backwards")


def test_a_pair_goes_through_the_model_once(bart_folder, monkeypatch):
    from excise.evaluation.metrics import pretrained

    metric = BartScore(str(bart_folder), direction="f")
    texts = ["le chat dort", "un chien mange"]
    expected = metric.compute(predictions=texts, references=texts[::-1])
    monkeypatch.setattr(metric, "_batch_log_likelihoods", lambda pairs: pytest.fail(f"again: {pairs}"))
    assert metric.compute(predictions=texts, references=texts[::-1]) == expected
    monkeypatch.setattr(pretrained, "MOST_KNOWN", 1)
    with pytest.raises(pytest.fail.Exception, match="again"):  # too many to be kept
        metric.compute(predictions=texts, references=texts[::-1])
