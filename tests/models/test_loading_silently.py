"""What is loaded as it is meant to be says nothing: no table of missing weights, no warning of tied ones."""

import pytest
import torch
from transformers import (
    DataCollatorForSeq2Seq,
    ResNetModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)
from transformers.utils import logging

from excise import (
    BottleneckCallback,
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    CodebookT5ForConditionalGeneration,
    KeyValueForImageClassification,
)
from excise.models.loading import load_model
from tests.helpers import tiny, tiny_images
from tests.helpers.stock_pairs import stock_classifier


@pytest.fixture
def warnings(caplog):
    """Warnings of transformers, which does not hand its messages on to the root logger by itself."""
    logging.enable_propagation()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_warning()
    yield lambda: [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    logging.set_verbosity(verbosity)
    logging.disable_propagation()


def saved(model, folder):
    model.save_pretrained(folder)
    return str(folder)


MADE = {
    "a T5 of a plain one": (CodebookT5ForConditionalGeneration, tiny.base_t5),
    "a CLIP of a plain one": (CodebookCLIPModel, tiny.base_clip),
    "a vision tower of a CLIP": (CodebookCLIPVisionModel, tiny.base_clip),
    "a classifier of a CLIP": (CodebookCLIPForImageClassification, tiny.base_clip),
    "a classifier of a classifier": (CodebookCLIPForImageClassification, stock_classifier),
}


@pytest.mark.parametrize("case", MADE)
def test_a_model_made_of_a_plain_one_is_made_without_a_table_of_its_new_weights(tmp_path, warnings, case):
    made, base = MADE[case]
    made.from_base(saved(base(), tmp_path), tiny.bottleneck_config(), [1])
    assert warnings() == []


def test_an_encoder_is_taken_without_a_table(tmp_path, warnings):
    for number, encoder in enumerate([ResNetModel(tiny_images.ENCODERS["resnet"]), tiny.base_clip()]):
        KeyValueForImageClassification.from_encoder(saved(encoder, tmp_path / str(number)), num_labels=3)
    assert warnings() == []


@pytest.mark.parametrize("make", [tiny.codebook_t5, tiny.codebook_clip, tiny_images.key_value_model])
def test_a_saved_model_is_loaded_without_a_word(tmp_path, warnings, make):
    load_model(saved(make(), tmp_path))
    assert warnings() == []


def test_what_a_checkpoint_lacks_is_still_told(tmp_path, warnings):
    model = tiny.codebook_t5()
    state = {name: value for name, value in model.state_dict().items() if "bottleneck.decoder" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    load_model(tmp_path)
    assert any("bottleneck.decoder.weight" in line and "MISSING" in line for line in warnings())


def test_a_trainer_that_goes_on_or_takes_its_best_model_does_not_warn_of_tied_weights(tmp_path, warnings):
    rows, tokenizer = tiny.copying(16), tiny.tokenizer()
    steps = {"max_steps": 2, "save_steps": 1, "eval_steps": 1, "eval_strategy": "steps"}
    options = {"load_best_model_at_end": True, "use_cpu": True, "disable_tqdm": True, "report_to": "none"}
    args = Seq2SeqTrainingArguments(str(tmp_path), **steps, **options)
    data = {"train_dataset": rows, "eval_dataset": rows, "data_collator": DataCollatorForSeq2Seq(tokenizer)}
    trainer = Seq2SeqTrainer(tiny.codebook_t5(), args, **data, callbacks=[BottleneckCallback()])
    trainer.train()
    trainer.args.max_steps = 3
    trainer.train(resume_from_checkpoint=True)
    assert [line for line in warnings() if "missing keys" in line] == []


def test_a_head_of_its_own_is_saved(tmp_path):
    model = tiny.codebook_t5()
    assert model._keys_to_ignore_on_save == {
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "lm_head.weight",
    }
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 1)
    assert model._keys_to_ignore_on_save == {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert torch.equal(load_model(saved(model, tmp_path)).lm_head.weight, model.lm_head.weight)
