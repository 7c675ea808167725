"""What a classifier says of a data set."""

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertModel

from excise.baselines import LinearClassifier, LinearClassifierConfig
from excise.evaluation.predictions import accuracy, class_accuracy, example_losses, predict

# The argmax of a row is the model's answer: 0, 1, 2, 0, 1.
ROWS = [[3.0, 1, 0], [0, 2, 0], [0, 0, 1], [1, 0, 0], [0, 5, 1]]


def identity() -> LinearClassifier:
    """A classifier whose logits are its inputs."""
    model = LinearClassifier(LinearClassifierConfig(hidden_size=3, num_labels=3))
    model.classifier.weight.data = torch.eye(3)
    return model


def answers(labels, column="labels") -> Dataset:
    return Dataset.from_dict({"encodings": ROWS, column: labels, "file": ["x"] * len(ROWS)})


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("column", ["labels", "label"])
def test_accuracy_is_the_share_of_right_answers(batch_size, column):
    assert accuracy(identity(), answers([0, 1, 2, 1, 2], column), batch_size) == pytest.approx(3 / 5)


def test_class_accuracy_is_the_share_of_each_class_that_occurs():
    assert class_accuracy(identity(), answers([0, 1, 1, 0, 1])) == pytest.approx({0: 1.0, 1: 2 / 3})


def test_losses_are_those_of_the_model_one_by_one_and_in_order():
    model, rows = identity(), answers([0, 2, 2, 1, 0])
    losses = example_losses(model, rows, batch_size=2)
    for i, (row, label) in enumerate(zip(ROWS, rows["labels"], strict=True)):
        alone = model(encodings=torch.tensor([row]), labels=torch.tensor([label])).loss.item()
        assert losses[i] == pytest.approx(alone, rel=1e-6)


def test_looking_changes_neither_mode_nor_random_numbers():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=9, hidden_dropout_prob=0.5, **sizes)).train()
    rows = Dataset.from_dict({"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]})
    before = torch.get_rng_state()
    first, second = predict(model, rows), predict(model, rows)
    assert torch.equal(first.logits, second.logits)  # no dropout
    assert model.training and model.bert.training
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_predicted_is_refused():
    model, rows = identity(), answers([0, 1, 2, 1, 2])
    with pytest.raises(ValueError, match="empty"):
        predict(model, rows.select([]))
    with pytest.raises(ValueError, match=r"neither `labels` nor `label`.*encodings"):
        predict(model, rows.remove_columns("labels"))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    with pytest.raises(ValueError, match="BertModel gives no `logits`"):
        predict(BertModel(BertConfig(vocab_size=9, **sizes)), Dataset.from_dict({"input_ids": [[1]], "labels": [0]}))


def test_logits_that_are_not_finite_are_no_answer():
    model = identity()
    nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(ValueError, match="5 of 5 examples are not finite"):
        accuracy(model, answers([0, 1, 2, 1, 2]))
