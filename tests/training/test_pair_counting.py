import numpy as np
import pytest
from transformers import Trainer, TrainingArguments

from excise import PairCountCallback, PairCounts, encode_images, select_pairs
from tests.helpers.tiny_images import images, key_value_model, processor


def pairs_of(model, dataset, folder):
    options = {"cache_dir": folder, "progress": False}
    return select_pairs(model, encode_images(model, dataset, processor(), **options), **options)


@pytest.mark.parametrize("on", ["pixels", "pairs"])
def test_the_last_epoch_gives_the_counts_of_the_whole_training_set(on, tmp_path):
    model, dataset = key_value_model(), images(50)
    pairs = pairs_of(model, dataset, tmp_path)
    rows = pairs.with_format("torch")
    if on == "pixels":
        rows = dataset.with_transform(
            lambda batch: {"pixel_values": list(processor()(batch["img"])["pixel_values"]), "labels": batch["label"]}
        )
    args = TrainingArguments(
        tmp_path / "out",
        num_train_epochs=3,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=2,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=on == "pairs",
    )
    callback = PairCountCallback()
    assert callback.counts is None
    Trainer(model, args, train_dataset=rows, eval_dataset=rows, callbacks=[callback]).train()
    expected = PairCounts.count(pairs, model.bottleneck)
    assert (callback.counts.table != expected.table).nnz == 0
    assert np.array_equal(callback.counts.examples, expected.examples)
    assert not model._forward_hooks


def trained(pairs, folder, callback, resume=None, **settings):
    model = key_value_model()
    args = TrainingArguments(
        folder,
        per_device_train_batch_size=10,
        save_steps=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **{"num_train_epochs": 2} | settings,
    )
    Trainer(model, args, train_dataset=pairs, callbacks=[callback]).train(resume_from_checkpoint=resume)


@pytest.mark.parametrize("step", [4, 5, 7])
def test_of_an_epoch_that_was_cut_off_there_are_no_wrong_counts(step, tmp_path, caplog):
    callback, rows = PairCountCallback(), pairs_of(key_value_model(), images(40), tmp_path).with_format("torch")
    trained(rows, tmp_path / "out", callback)
    assert callback.counts.examples.tolist() == [10] * 4
    trained(rows, tmp_path / "out", callback, resume=str(tmp_path / "out" / f"checkpoint-{step}"))
    if step == 4:  # between the epochs
        assert callback.counts.examples.tolist() == [10] * 4
    else:
        assert callback.counts is None and "was not seen from its beginning" in caplog.text


def test_half_an_epoch_and_hidden_labels_are_not_counted(tmp_path, caplog):
    callback, rows = PairCountCallback(), pairs_of(key_value_model(), images(40), tmp_path).with_format("torch")
    trained(rows, tmp_path / "half", callback, max_steps=6)
    assert callback.counts is None and "was not seen from its beginning" in caplog.text
    with pytest.raises(ValueError, match=r"label_smoothing_factor=0\.1: the model does not see the labels"):
        trained(rows, tmp_path / "smooth", callback, label_smoothing_factor=0.1)
