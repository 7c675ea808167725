"""A tiny `Seq2SeqTrainer`."""

import pytest
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from tests.helpers.tiny import copying, tokenizer


@pytest.fixture
def trainer(tmp_path):
    """Makes a trainer of a model on the task of copying; settings are `Seq2SeqTrainingArguments`'."""

    def make(model, callbacks=(), rows=32, **settings) -> Seq2SeqTrainer:
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_steps": 1,
            "max_steps": 4,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.01,
            "lr_scheduler_type": "constant",
            "dataloader_pin_memory": False,
        }
        words = tokenizer()
        return Seq2SeqTrainer(
            model,
            Seq2SeqTrainingArguments(**defaults | settings),
            train_dataset=copying(rows),
            eval_dataset=copying(6, seed=1),
            data_collator=DataCollatorForSeq2Seq(words, model),
            processing_class=words,
            callbacks=list(callbacks),
        )

    return make
