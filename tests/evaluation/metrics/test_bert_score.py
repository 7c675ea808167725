"""BERTScore against a computation by hand and against the package bert-score."""

import json
import shutil
import sys

import pytest
import torch
from bert_score import score as peer_score
from transformers import AutoTokenizer, BartModel, BertModel

from excise.evaluation.metrics import BertScore

PREDICTIONS = ["le chat dort ici", "un chien", "le professeur parle bien . !", "une chat mange"]
REFERENCES = ["le chat dort", "un chien mange", "un professeur parle , bien", "le chien dort bien !"]
NAMES = ["bert_score_precision", "bert_score_recall", "bert_score_f1"]


def numbers(result):
    return [result[name] for name in NAMES]


def by_hand(encoder, tokenizer, layer, prediction, reference):
    """Precision, recall and F1 of one pair: every step written out, no batch, no padding."""
    sides = []
    for text in (prediction, reference):
        states = encoder(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        states = states.hidden_states if "hidden_states" in states else states.encoder_hidden_states
        sides.append(torch.nn.functional.normalize(states[layer][0], dim=-1))
    cosine = sides[0] @ sides[1].T
    precision = cosine[1:-1].max(1).values.mean().item()
    recall = cosine[:, 1:-1].max(0).values.mean().item()
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_it_equals_the_computation_by_hand_at_each_layer(bert_folder, layer):
    bert, tokenizer = BertModel.from_pretrained(bert_folder), AutoTokenizer.from_pretrained(bert_folder)
    with torch.no_grad():
        pairs = zip(PREDICTIONS, REFERENCES, strict=True)
        expected = torch.tensor([by_hand(bert, tokenizer, layer, *pair) for pair in pairs]).mean(0)
    result = BertScore(str(bert_folder), layer).compute(predictions=PREDICTIONS, references=REFERENCES)
    assert numbers(result) == pytest.approx(expected.tolist(), abs=1e-5)
    assert max(numbers(result)) < 0.999


def test_it_equals_the_package_bert_score_also_with_several_references(bert_folder, tmp_path):
    # The package needs a tokenizer with a length, and a path without "t5".
    folder = shutil.copytree(bert_folder, tmp_path / "peer")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 12}))
    groups = [[REFERENCES[0], "un chat dort"], [REFERENCES[1]], REFERENCES[2:], [REFERENCES[3]]]
    expected = [part.mean().item() for part in peer_score(PREDICTIONS, groups, model_type=str(folder), num_layers=2)]
    result = BertScore(str(bert_folder), 2).compute(predictions=PREDICTIONS, references=groups)
    assert numbers(result) == pytest.approx(expected, abs=1e-5)


def test_the_encoder_of_an_encoder_decoder_is_used(bart_folder):
    bart, tokenizer = BartModel.from_pretrained(bart_folder), AutoTokenizer.from_pretrained(bart_folder)
    with torch.no_grad():
        expected = by_hand(bart.get_encoder(), tokenizer, 1, PREDICTIONS[0], REFERENCES[0])
    result = BertScore(str(bart_folder), 1).compute(predictions=PREDICTIONS[:1], references=REFERENCES[:1])
    assert numbers(result) == pytest.approx(expected, abs=1e-5)


def test_batch_size_and_order_do_not_matter(bert_folder):
    whole = BertScore(str(bert_folder), 3).compute(predictions=PREDICTIONS, references=REFERENCES)
    single = BertScore(str(bert_folder), 3, batch_size=1).compute(
        predictions=PREDICTIONS[::-1], references=REFERENCES[::-1]
    )
    assert numbers(single) == pytest.approx(numbers(whole), abs=1e-6)


def test_the_same_call_twice_gives_the_same_bits(bert_folder):
    metric = BertScore(str(bert_folder), 3)
    inputs = {"predictions": PREDICTIONS, "references": REFERENCES}
    assert metric.compute(**inputs) == metric.compute(**inputs)


def test_a_text_scores_1_with_itself_and_a_blank_one_0(bert_folder, capfd):
    metric = BertScore(str(bert_folder), 3)
    capfd.readouterr()
    assert numbers(metric.compute(predictions=PREDICTIONS, references=PREDICTIONS)) == pytest.approx([1, 1, 1])
    half = metric.compute(predictions=["le chat", "", "un", " "], references=["le chat", "le", ["", "un"], ""])
    assert numbers(half) == pytest.approx([0.5, 0.5, 0.5])
    assert numbers(metric.compute(predictions=[""], references=["le chat"])) == [0, 0, 0]
    assert capfd.readouterr().err == ""


def test_a_text_longer_than_the_model_is_cut_off(bert_folder):
    metric = BertScore(str(bert_folder), 1)
    assert metric.tokenizer.model_max_length == 12
    short, long = "chat " * 10, "chat " * 10 + "dort " * 40
    assert numbers(metric.compute(predictions=[long], references=[short])) == pytest.approx([1, 1, 1])
    assert (
        "max_length:5"
        in BertScore(str(bert_folder), 1, max_length=5).compute(predictions=["a"], references=["a"])[
            "bert_score_signature"
        ]
    )


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_that_the_model_lacks_is_refused(bert_folder, layer):
    with pytest.raises(ValueError, match=rf"num_layers is {layer}: this model has layers 0 to 3"):
        BertScore(str(bert_folder), layer)


def test_a_tokenizer_without_start_and_end_is_refused(bert_folder, tmp_path):
    folder = shutil.copytree(bert_folder, tmp_path / "bare")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    with pytest.raises(ValueError, match=r"adds 0 special tokens .* expected 2"):
        BertScore(str(folder), 1)


def test_a_missing_package_is_named(bert_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "bert_score", None)
    with pytest.raises(ImportError, match=r'pip install "excise\[metrics\]"'):
        BertScore(str(bert_folder), 1)


def test_a_pair_goes_through_the_model_once_and_counts_each_time(bert_folder, monkeypatch):
    metric = BertScore(str(bert_folder), 2)
    seen = []
    match = metric._match
    monkeypatch.setattr(metric, "_match", lambda pairs: seen.extend(pairs) or match(pairs))
    first = metric.compute(predictions=PREDICTIONS, references=REFERENCES)
    thrice = metric.compute(predictions=[*PREDICTIONS * 2, "le"], references=[*REFERENCES * 2, "le chat"])
    one = metric.compute(predictions=["le"], references=["le chat"])
    assert sorted(seen) == sorted([*zip(PREDICTIONS, REFERENCES, strict=True), ("le", "le chat")])
    expected = [(8 * of_all + of_one) / 9 for of_all, of_one in zip(numbers(first), numbers(one), strict=True)]
    assert numbers(thrice) == pytest.approx(expected)
