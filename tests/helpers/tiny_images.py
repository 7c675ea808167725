"""Image classifiers and images small enough that a test of them takes a blink. Nothing is random but by seed."""

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from transformers import (
    CLIPVisionConfig,
    Dinov2Config,
    PreTrainedConfig,
    ResNetConfig,
    ViTConfig,
    ViTImageProcessorPil,
    set_seed,
)

from excise import KeyValueConfig, KeyValueForImageClassification
from excise.models import KeyValueVisionConfig

SIZE = 32
NAMES = ["red", "green", "blue", "grey"]
VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT |= {"image_size": SIZE, "patch_size": 16, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
CLIP = {key: value for key, value in VIT.items() if key != "hidden_dropout_prob" and "probs" not in key}
CLIP |= {"attention_dropout": 0.1}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
ENCODERS = {
    "clip": CLIPVisionConfig(**CLIP),
    "vit": ViTConfig(**VIT),
    "dinov2": Dinov2Config(**VIT),
    "resnet": ResNetConfig(**RESNET),
}


def key_value_config(**settings) -> KeyValueConfig:
    return KeyValueConfig(**{"num_codebooks": 6, "num_pairs": 64, "key_dim": 4} | settings)


def key_value_model(
    encoder: str | PreTrainedConfig = "resnet", seed=0, pooling=None, **bottleneck
) -> KeyValueForImageClassification:
    """An image classifier with random weights, in eval mode."""
    set_seed(seed)
    encoder = ENCODERS[encoder] if isinstance(encoder, str) else encoder
    config = KeyValueVisionConfig(
        encoder=encoder,
        bottleneck=key_value_config(**bottleneck),
        pooling=pooling or ("first" if encoder.model_type == "vit" else "pooler"),
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    return KeyValueForImageClassification(config)


def images(rows=80, seed=0) -> Dataset:
    """Noisy images of one colour each, `img`, and its `label`; as many of each, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % len(NAMES))
    colours = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [120, 120, 120]])
    pixels = colours[labels][:, None, None] + rng.normal(0, 25, (rows, SIZE, SIZE, 3))
    features = Features({"img": Image(), "label": ClassLabel(names=NAMES)})
    pixels = pixels.clip(0, 255).astype(np.uint8)
    return Dataset.from_dict({"img": list(pixels), "label": labels}, features=features)


def processor() -> ViTImageProcessorPil:
    return ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})


def image_batch(rows=5, seed=0) -> dict[str, torch.Tensor]:
    """Pixels and labels of `images`."""
    batch = images(rows, seed)
    pixels = processor()(batch["img"][:], return_tensors="pt")["pixel_values"]
    return {"pixel_values": pixels, "labels": torch.tensor(batch["label"][:])}
