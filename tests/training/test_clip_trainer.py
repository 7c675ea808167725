"""A plain `Trainer` trains CLIP's models with bottlenecks, contrastively or with labels."""

import copy

import pytest
import torch
from transformers import Trainer, TrainingArguments

from excise import BottleneckCallback, CodebookCLIPForImageClassification, CodebookCLIPModel
from excise.bottlenecks.site import bottlenecks
from tests.helpers import tiny
from tests.helpers.model_contract import CHECKPOINTING

SITE = "encoder.layers.2"
PARTS = ("task_loss", "reconstruction_loss", "l1_loss")


def rows(count: int) -> list[dict]:
    """Images, their labels, and captions that name these."""
    dataset = tiny.images(count)
    pixels = tiny.image_processor()(dataset["image"][:], return_tensors="pt")["pixel_values"]
    captions = [[3, 10 + label, 1] for label in dataset["label"]]
    columns = zip(pixels, dataset["label"], captions, strict=True)
    return [{"pixel_values": p, "labels": label, "input_ids": torch.tensor(ids)} for p, label, ids in columns]


def labelled(batch):
    return {
        "pixel_values": torch.stack([row["pixel_values"] for row in batch]),
        "labels": torch.tensor([row["labels"] for row in batch]),
    }


def captioned(batch):
    columns = {key: torch.stack([row[key] for row in batch]) for key in ("pixel_values", "input_ids")}
    return columns | {"return_loss": True}


COLLATORS = {CodebookCLIPModel: captioned, CodebookCLIPForImageClassification: labelled}


@pytest.fixture
def trainer(tmp_path):
    """Makes a trainer of a model on the colours; settings are `TrainingArguments`'."""

    def make(model, callbacks=(), count=24, **settings) -> Trainer:
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_steps": 1,
            "max_steps": 4,
            "per_device_train_batch_size": 6,
            "learning_rate": 0.01,
            "lr_scheduler_type": "constant",
            "dataloader_pin_memory": False,
            "remove_unused_columns": False,
        }
        return Trainer(
            model,
            TrainingArguments(**defaults | settings),
            train_dataset=rows(count),
            eval_dataset=rows(9),
            data_collator=COLLATORS[type(model)],
            callbacks=list(callbacks),
        )

    return make


def steps_of(before, *models):
    """What each model has moved by, by name."""
    return [{name: value - before[name] for name, value in model.named_parameters()} for model in models]


@pytest.mark.parametrize("model_class", COLLATORS)
def test_training_lowers_the_joint_loss(trainer, model_class):
    run = trainer(tiny.codebook_clip(model_class), max_steps=40)
    before = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < 0.8 * before


def test_accumulated_steps_of_a_classifier_equal_the_large_batch(trainer):
    start = tiny.codebook_clip(CodebookCLIPForImageClassification)
    settings = {"optim": "sgd", "max_grad_norm": 0, "max_steps": 1}
    whole, parts = copy.deepcopy(start), copy.deepcopy(start)
    large = trainer(whole, [BottleneckCallback()], per_device_train_batch_size=24, **settings)
    # The last part has but two images, so a mean of means would be another gradient.
    small = trainer(
        parts, [BottleneckCallback()], per_device_train_batch_size=11, gradient_accumulation_steps=3, **settings
    )
    large.train()
    small.train()
    expected, found = steps_of(dict(start.named_parameters()), whole, parts)
    for name, step in expected.items():
        torch.testing.assert_close(found[name], step, rtol=1e-3, atol=1e-5, msg=name)
    for key in ("loss", "grad_norm", *PARTS, "code_perplexity"):
        assert large.state.log_history[0][key] == pytest.approx(small.state.log_history[0][key], rel=1e-3), key


def test_accumulated_contrastive_steps_are_the_mean_of_the_parts(trainer):
    start = tiny.codebook_clip()
    whole = copy.deepcopy(start)
    run = trainer(
        whole,
        [BottleneckCallback()],
        optim="sgd",
        max_grad_norm=0,
        max_steps=1,
        per_device_train_batch_size=6,
        gradient_accumulation_steps=4,
        train_sampling_strategy="sequential",
    )
    run.train()
    every = rows(24)
    losses = []
    for i in range(0, 24, 6):
        output = start(**captioned(every[i : i + 6]))
        (output.loss / 4).backward()
        losses.append({name: output[name].item() for name in ("loss", *PARTS)})
    (found,) = steps_of(dict(start.named_parameters()), whole)
    for name, parameter in start.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], -0.01 * parameter.grad, rtol=1e-3, atol=1e-6, msg=name)
    for name in ("loss", *PARTS):
        mean = sum(loss[name] for loss in losses) / 4
        assert run.state.log_history[0][name] == pytest.approx(mean, rel=1e-3), name


@pytest.mark.parametrize("model_class", COLLATORS)
def test_logs_hold_the_parts_of_the_loss_and_the_use_of_codes(trainer, model_class):
    run = trainer(tiny.codebook_clip(model_class), [BottleneckCallback()], logging_steps=2)
    run.train()
    logs = [log for log in run.state.log_history if "loss" in log]
    assert len(logs) == 2
    for log in logs:
        whole = log["task_loss"] + 1.0 * log["reconstruction_loss"] + 1e-3 * log["l1_loss"]
        assert log["loss"] == pytest.approx(whole, rel=1e-3)
        assert 0 < log["live_code_share"] <= 1


@pytest.mark.parametrize("model_class", COLLATORS)
def test_dead_codes_are_revived_where_positions_of_images_are(trainer, model_class):
    model = tiny.codebook_clip(model_class)
    module = bottlenecks(model)[SITE]
    module.codebook.data[4:10] = -100 * torch.ones(module.codebook.shape[1])
    module.layer_norm.bias.data.fill_(2.0)  # all features have a positive sum, the dead codes a negative one
    before = module.codebook.detach().clone()
    callback = BottleneckCallback(revive_every=2, revive_until=1.0)
    trainer(model, [callback], max_steps=2, learning_rate=1e-6).train()
    assert ((module.codebook - before).abs().amax(1) > 1)[4:10].all()


@pytest.mark.parametrize("model_class", COLLATORS)
def test_activation_checkpointing_trains_to_the_same_weights(trainer, model_class):
    plain = tiny.codebook_clip(model_class)
    checkpointed = copy.deepcopy(plain)
    trainer(plain, optim="sgd").train()
    trainer(checkpointed, optim="sgd", **{f"{CHECKPOINTING}_checkpointing": True}).train()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(checkpointed.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_predictions_hold_logits_and_no_codes(trainer):
    run = trainer(tiny.codebook_clip(CodebookCLIPForImageClassification), per_device_eval_batch_size=9)
    prediction = run.predict(run.eval_dataset)
    assert prediction.predictions.shape == (9, 3)
    assert prediction.label_ids.tolist() == [0, 1, 2] * 3
