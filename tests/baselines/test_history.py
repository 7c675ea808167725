"""The record of a training."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, default_data_collator

from excise.baselines import finetune, history
from excise.baselines.history import EpochHistory
from excise.evaluation.predictions import accuracy


def test_a_plain_trainer_gets_one_record_an_epoch_and_one_before(planted, arguments):
    model, callback = copy.deepcopy(planted.model), EpochHistory(planted.tests)
    args = arguments(epochs=3)
    Trainer(model, args, train_dataset=planted.retain, callbacks=[callback]).train()
    assert [epoch.number for epoch in callback.epochs] == [0, 1, 2, 3]
    first, last = callback.epochs[0], callback.epochs[-1]
    for name, dataset in planted.tests.items():
        assert first.accuracy[name] == accuracy(planted.model, dataset)
        assert last.accuracy[name] == accuracy(model, dataset)


def test_recording_does_not_change_what_is_trained(arguments):
    config = BertConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        hidden_dropout_prob=0.5,
    )
    model = BertForSequenceClassification(config)
    rows = Dataset.from_dict({"input_ids": torch.randint(9, (40, 3)).tolist(), "labels": [0, 1] * 20})
    alone, watched = (
        finetune(model, rows, arguments(epochs=2), evaluate_on=sets).model for sets in (None, {"a": rows, "b": rows})
    )
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_evaluation_takes_no_time(planted, arguments, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(history, "now", lambda: clock[0])

    def ticking(seconds):
        def collate(rows):
            clock[0] += seconds
            return default_data_collator(rows)

        return collate

    callback = EpochHistory(planted.tests, ticking(100.0))
    model = copy.deepcopy(planted.model)
    Trainer(model, arguments(epochs=2), ticking(1.0), planted.retain, callbacks=[callback]).train()
    batches = -(-len(planted.retain) // 32)
    assert [epoch.seconds for epoch in callback.epochs] == [0.0, batches, 2 * batches]


def test_a_run_tells_the_accuracy_of_its_model_and_makes_a_table(planted, arguments):
    run = finetune(planted.model, planted.retain, arguments(epochs=2), evaluate_on=planted.tests)
    assert run.epoch == 2
    assert run.accuracy == {name: accuracy(run.model, dataset) for name, dataset in planted.tests.items()}
    table = run.to_pandas()
    assert list(table.columns) == ["epoch", "seconds", "forget", "retain"]
    assert table["forget"].tolist() == [epoch.accuracy["forget"] for epoch in run.history]
    assert run.seconds == pytest.approx(table["seconds"].max()) and run.seconds > 0
