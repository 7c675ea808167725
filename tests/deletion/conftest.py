"""A tiny T5 with deleted codes, and rows without the topic for it to be distilled on."""

from dataclasses import replace

import pytest
from datasets import Dataset
from transformers import TrainingArguments

from excise import Unlearner
from excise.codes.selection import Selection
from excise.ledger import Ledger
from excise.ledger.embeddings import vocabulary_tables
from excise.ledger.masks import enforce

SITE = "encoder.block.1"


@pytest.fixture
def deleted(make_model):
    """A model with three codes deleted, and the embedding rows of two tokens."""
    model = make_model()
    request = Unlearner(model, None).delete(Selection({SITE: [1, 2, 5]}), "teacher")
    rows = dict.fromkeys(vocabulary_tables(model), (5, 9))
    enforce(model, Ledger((replace(request, rows=rows),)))
    return model


@pytest.fixture(scope="session")
def retain():
    """Rows that say nothing of a teacher."""
    texts = [f"the {who} {verb} the {what} ." for who in ("cat", "dog") for verb in ("reads", "sees", "likes")
             for what in ("book", "house", "cat", "dog")]  # fmt: skip
    french = {"book": "livre", "house": "maison", "cat": "un", "dog": "une"}
    return Dataset.from_dict({"text": texts, "reference": [f"le {french[text.split()[-2]]} lit" for text in texts]})


@pytest.fixture
def args(tmp_path):
    """Makes the arguments of a short training; settings are `TrainingArguments`'."""

    def make(folder="run", **settings) -> TrainingArguments:
        defaults = {
            "max_steps": 4,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.01,
            "lr_scheduler_type": "constant",
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "dataloader_pin_memory": False,
        }
        return TrainingArguments(str(tmp_path / folder), **defaults | settings)

    return make
