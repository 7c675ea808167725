"""The key-value classifier, on each kind of encoder."""

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    CLIPConfig,
    CLIPModel,
    ResNetForImageClassification,
    Trainer,
    TrainingArguments,
    ViTForImageClassification,
    pipeline,
)

from excise import (
    KeyValueForImageClassification,
    KeyValueVisionConfig,
    encode_images,
    initialize_keys,
    select_pairs,
    trace,
)
from tests.models.contract import ModelContract
from tests.tiny_images import CLIP, ENCODERS, NAMES, image_batch, images, key_value_config, key_value_model, processor


class KeyValueContract(ModelContract):
    model_class = KeyValueForImageClassification
    auto_class = AutoModelForImageClassification
    encoder: str
    unused = ("encoder.",)

    def make(self, **settings):
        return key_value_model(self.encoder, **settings)

    def batch(self):
        return image_batch(3)

    def disk_map(self):
        return {"encoder": "cpu", "bottleneck": "disk"}

    def codes(self, output):
        return {"bottleneck": output.pairs}

    def add_a_code(self, config):
        config["bottleneck"]["num_pairs"] += 1


class TestOnResNet(KeyValueContract):
    encoder = "resnet"
    attentions = ("eager",)


class TestOnViT(KeyValueContract):
    encoder = "vit"


class TestOnCLIP(KeyValueContract):
    encoder = "clip"


class TestOnDINOv2(KeyValueContract):
    encoder = "dinov2"
