import numpy as np
import pytest
from transformers import Trainer, TrainingArguments

from excise import PairCountCallback, PairCounts, encode_images, select_pairs
from tests.tiny_images import images, key_value_model, processor


@pytest.mark.parametrize("on", ["pixels", "pairs"])
def test_the_last_epoch_gives_the_counts_of_the_whole_training_set(on, tmp_path):
    model, dataset = key_value_model(), images(50)
    options = {"cache_dir": tmp_path, "progress": False}
    pairs = select_pairs(model, encode_images(model, dataset, processor(), **options), **options)
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
