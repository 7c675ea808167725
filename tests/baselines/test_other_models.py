"""Baselines take any classifier of transformers: one of images, with a frozen backbone, and one of texts."""

import pytest
import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
)

from excise.baselines import finetune, gradient_difference, retrain, scrub, scrub_rewind

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
FORGOTTEN = 1


def vit():
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **SIZES))


def bert():
    return BertForSequenceClassification(BertConfig(vocab_size=30, num_labels=3, **SIZES))


def images(labels, seed):
    """Each class has a bright quarter of its own."""
    generator = torch.Generator().manual_seed(seed)
    pixels = 0.3 * torch.randn(len(labels), 1, 8, 8, generator=generator)
    for picture, label in zip(pixels, labels, strict=True):
        top, left = divmod(label, 2)
        picture[0, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 6
    return Dataset.from_dict({"pixel_values": pixels.tolist(), "label": labels}).with_format("torch")


def texts(labels, seed):
    """Of uneven length, and each class says its own word somewhere."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 6, (len(labels),), generator=generator).tolist()
    rows = [torch.randint(10, 25, (length,), generator=generator).tolist() for length in lengths]
    ids = [[*row, 25 + label] for row, label in zip(rows, labels, strict=True)]
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "label": labels})


@pytest.mark.parametrize(
    ("make_model", "make_rows"),
    [pytest.param(vit, images, marks=pytest.mark.slow, id="vit"), pytest.param(bert, texts, id="bert")],
)
def test_any_classifier_is_trained_and_made_to_forget(make_model, make_rows, arguments, tokenizer):
    collator = DataCollatorWithPadding(tokenizer) if make_rows is texts else default_data_collator
    kept = [label for label in range(3) if label != FORGOTTEN]
    whole, forget, retain = make_rows([0, 1, 2] * 40, 0), make_rows([FORGOTTEN] * 40, 1), make_rows(kept * 40, 2)
    tests = {"forget": make_rows([FORGOTTEN] * 20, 3), "retain": make_rows(kept * 20, 4)}
    options = {"evaluate_on": tests, "data_collator": collator}
    model = retrain(make_model, whole, arguments(0.003, 15), **options)
    assert min(model.accuracy.values()) > 0.95

    args = arguments(0.005, 5)
    scrubbed = scrub(model.model, forget, retain, args, **options)
    difference = gradient_difference(model.model, forget, retain, args, alpha=0.7, **options)
    rewound = scrub_rewind(model.model, forget, retain, tests["forget"], args, **options)
    for run in (scrubbed, difference, rewound):
        assert run.accuracy["forget"] == 0
        assert run.accuracy["retain"] > 0.9
    assert finetune(model.model, retain, args, **options).accuracy["retain"] > 0.9


def test_a_frozen_backbone_stays_as_it_is(arguments):
    model = vit()
    model.vit.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    args = arguments(0.05, 3)
    after = scrub(model, images([FORGOTTEN] * 40, 1), images([0, 2] * 40, 2), args).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("columns", ["transform", "collator"])
def test_images_become_what_the_model_takes_by_a_transform_or_a_collator(columns, arguments):
    raw = images([0, 1, 2] * 20, 0).rename_column("pixel_values", "photo")
    collator = default_data_collator
    if columns == "transform":
        raw = raw.with_transform(
            lambda rows: {"pixel_values": [torch.tensor(photo) for photo in rows["photo"]], "labels": rows["label"]}
        )
    else:

        def collator(rows):
            pixels, labels = (torch.stack([row[name] for row in rows]) for name in ("photo", "label"))
            return {"pixel_values": pixels, "labels": labels}

    retain = raw.select([row for row in range(60) if row % 3 != FORGOTTEN])
    forget = raw.select(range(FORGOTTEN, 60, 3))
    options = {"evaluate_on": {"forget": forget, "retain": retain}, "data_collator": collator}
    args = arguments(0.003, 30, remove_unused_columns=False)
    tuned = finetune(vit(), raw, args, **options)
    assert min(tuned.accuracy.values()) > 0.9
    assert scrub(tuned.model, forget, retain, args, **options).accuracy["retain"] > 0.9


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_lora_adapter_is_trained(arguments):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(vit(), LoraConfig(target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]))
    retain = images([0, 2] * 40, 2)
    run = finetune(model, retain, arguments(0.01, 8), evaluate_on={"retain": retain})
    assert run.accuracy["retain"] > 0.9
    assert any("lora" in name for name in run.model.state_dict())
