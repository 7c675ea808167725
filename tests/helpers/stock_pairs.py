"""Tiny models of excise, each beside the stock model of its task and a batch that both take."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    Dinov2ForImageClassification,
    PreTrainedModel,
    ResNetForImageClassification,
    ViTForImageClassification,
)

from excise import CodebookCLIPForImageClassification, CodebookCLIPVisionModel
from tests.helpers import tiny, tiny_images


@dataclass(frozen=True)
class Pair:
    """Makers of a model of ours, of the stock model of its task, and of a batch; the number of classes, if any."""

    ours: Callable[[], PreTrainedModel]
    stock: Callable[[], PreTrainedModel]
    batch: Callable[[], dict]
    labels: int | None = None


def stock_classifier():
    config = CLIPConfig(vision_config=tiny.CLIP_VISION, text_config=tiny.CLIP_TEXT, num_labels=3, **tiny.CLIP)
    return CLIPForImageClassification(config).eval()


def key_value(encoder, stock_class):
    def stock():
        config = copy.deepcopy(tiny_images.ENCODERS[encoder])
        config.num_labels = len(tiny_images.NAMES)
        return stock_class(config).eval()

    return Pair(lambda: tiny_images.key_value_model(encoder), stock, lambda: tiny_images.image_batch(3), 4)


PAIRS = {
    "t5": Pair(tiny.codebook_t5, tiny.base_t5, tiny.batch),
    "clip": Pair(tiny.codebook_clip, tiny.base_clip, tiny.pairs),
    "clip classifier": Pair(
        lambda: tiny.codebook_clip(CodebookCLIPForImageClassification),
        stock_classifier,
        lambda: {"pixel_values": tiny.pixels(), "labels": torch.tensor([0, 2, 1])},
        3,
    ),
    "clip vision": Pair(
        lambda: tiny.codebook_clip(CodebookCLIPVisionModel),
        lambda: tiny.base_clip().vision_model,
        lambda: {"pixel_values": tiny.pixels()},
    ),
    "key-value vit": key_value("vit", ViTForImageClassification),
    "key-value dinov2": key_value("dinov2", Dinov2ForImageClassification),
    "key-value resnet": key_value("resnet", ResNetForImageClassification),
}
CLASSIFIERS = [name for name, pair in PAIRS.items() if pair.labels]
