"""CLIP with codebook bottlenecks in its vision tower."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import PrefixChange
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.clip.modeling_clip import CLIPEncoderLayer, CLIPOutput
from transformers.utils import can_return_tuple

from excise.bottlenecks.registry import make_bottleneck
from excise.bottlenecks.site import BottleneckSite
from excise.bottlenecks.tracing import trace
from excise.data.class_names import check_same_order, class_names
from excise.models.base_checkpoint import PrefixLeftOut
from excise.models.bottlenecked import Bottlenecked, as_model_type
from excise.models.codebook_clip.configuration_codebook_clip import CodebookCLIPConfig, CodebookCLIPVisionConfig
from excise.models.outputs import CodebookFields, SiteCodes, check_loss_is_here, codes_by_site, joint_loss
from excise.models.settings import sub_config

# As of the plain vision model: a whole CLIP's weights have this prefix, a vision tower's alone may have none. There are
# whole CLIPs whose towers' weights have it twice.
register_checkpoint_conversion_mapping(
    "CodebookCLIPVisionModel",
    [PrefixChange(prefix_to_remove="vision_model"), PrefixLeftOut(prefix_to_remove="vision_model")],
    overwrite=True,
)
register_checkpoint_conversion_mapping(
    "CodebookCLIPVisionTower", [PrefixLeftOut(prefix_to_remove="vision_model")], overwrite=True
)


@dataclass
class CodebookCLIPOutput(CodebookFields, CLIPOutput):
    """CLIP's output and [`CodebookFields`]. `loss` is the contrastive loss and the codebooks' own."""


@dataclass
class CodebookImageClassifierOutput(CodebookFields, ImageClassifierOutput):
    """A classifier's output and [`CodebookFields`]. `loss` is the cross-entropy and the codebooks' own."""


@dataclass
class CodebookCLIPVisionOutput(BaseModelOutputWithPooling):
    """A vision tower's output.

    Args:
        codes (`SiteCodes`): Codes by site, a dict of `torch.LongTensor` of shape `(batch, positions, top_s)`, the class
            token's first.
    """

    codes: SiteCodes | None = None


class CodebookCLIPEncoderLayer(BottleneckSite, CLIPEncoderLayer):
    """A vision layer with a bottleneck in its middle: a subclass, so that plain CLIP weights keep their names."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        attended, _ = self.self_attn(self.layer_norm1(hidden_states), attention_mask=attention_mask, **kwargs)
        # No position of an image is padding; the mask of the text beside it is none of the bottleneck's business.
        hidden_states = self.pass_through_bottleneck(hidden_states + attended)
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class CodebookCLIPVisionTower(Bottlenecked, CLIPVisionModel):
    """The part that the models below share. What its bottlenecks put out goes to the open trace."""

    config_class = CodebookCLIPVisionConfig
    _no_split_modules = [*CLIPVisionModel._no_split_modules, "CodebookCLIPEncoderLayer"]

    def __init__(self, config: CodebookCLIPVisionConfig):
        super().__init__(config)
        for i in config.bottleneck_layers:
            layer = CodebookCLIPEncoderLayer(config)
            layer.attach(f"encoder.layers.{i}", make_bottleneck(sub_config(config.bottleneck)))
            self.encoder.layers[i] = layer
        if self.encoder.gradient_checkpointing:  # the config asked for it, and the plain layers had it
            self._set_gradient_checkpointing()
        self.post_init()

    @classmethod
    def in_place_of(cls, plain: CLIPVisionModel, config: CodebookCLIPVisionConfig) -> "CodebookCLIPVisionTower":
        """A new tower, with activation checkpointing if the plain one has it."""
        tower = cls._from_config(config)
        if plain.encoder.gradient_checkpointing:
            tower._set_gradient_checkpointing()
        return tower


class CodebookCLIPVisionModel(CodebookCLIPVisionTower):
    """CLIP's vision tower with codebook bottlenecks; a checkpoint of any model here loads, with its ledger."""

    @classmethod
    def from_base(
        cls,
        base: str | os.PathLike | PreTrainedModel,
        bottleneck: PreTrainedConfig | None = None,
        layers: tuple[int, ...] | list[int] = (0,),
        **kwargs: Any,
    ) -> "CodebookCLIPVisionModel":
        """The vision tower of a plain CLIP checkpoint; arguments and errors as in `CodebookCLIPModel.from_base`."""

        def make_config(plain, bottleneck):
            vision = sub_config(plain.vision_config) if isinstance(plain, CLIPConfig) else plain
            return CodebookCLIPVisionConfig(**_with_bottlenecks(vision, bottleneck, layers))

        return cls._from_plain(base, (CLIPConfig, CLIPVisionConfig), "CLIP", make_config, bottleneck, **kwargs)

    @can_return_tuple
    def forward(
        self, pixel_values: Tensor | None = None, interpolate_pos_encoding: bool | None = False, **kwargs: Any
    ) -> CodebookCLIPVisionOutput:
        """The plain vision tower's forward, with codes."""
        with trace() as traced:
            plain = super().forward(
                pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True, **kwargs
            )
        return CodebookCLIPVisionOutput(**plain, codes=codes_by_site(traced))


class CodebookCLIPModel(Bottlenecked, CLIPModel):
    """CLIP with codebook bottlenecks in its vision tower; what the text tower says is as it was."""

    config_class = CodebookCLIPConfig
    # A contrastive loss is a mean over its own batch, so accumulated steps are means of the parts.
    accepts_loss_kwargs = False
    _no_split_modules = CodebookCLIPVisionTower._no_split_modules

    def __init__(self, config: CodebookCLIPConfig):
        super().__init__(config)
        self.vision_model = CodebookCLIPVisionTower.in_place_of(self.vision_model, sub_config(config.vision_config))
        self.post_init()

    @classmethod
    def from_base(
        cls,
        base: str | os.PathLike | PreTrainedModel,
        bottleneck: PreTrainedConfig | None = None,
        layers: tuple[int, ...] | list[int] = (0,),
        **kwargs: Any,
    ) -> "CodebookCLIPModel":
        """A plain CLIP checkpoint with new bottlenecks; every base weight is as it was.

        Args:
            base: Hub id or local path of a `CLIPModel`, or one in memory, whose weights are copied.
            bottleneck: settings of the bottlenecks, of any kind; the defaults of `CodebookSAEConfig` if not given.
            layers: vision layers, counted from 0, that get one.
            **kwargs: single fields of the bottleneck's settings (`num_codes=4096`); others go on to `from_pretrained`
                (`revision`, `dtype`, `device_map`, ...).

        Raises:
            ValueError: if `base` is no plain CLIP, or lacks weights that a CLIP has.

        Example:
            >>> model = CodebookCLIPModel.from_base("openai/clip-vit-base-patch32")  # doctest: +SKIP
        """

        def make_config(plain, bottleneck):
            return CodebookCLIPConfig(**_clip_with_bottlenecks(plain, bottleneck, layers))

        return cls._from_plain(base, (CLIPConfig,), "CLIP", make_config, bottleneck, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Any,
    ) -> CodebookCLIPOutput:
        """CLIP's forward, with the joint loss.

        Args:
            return_loss: whether to return the contrastive loss and the codebooks' own.
        """
        with trace() as traced:
            plain = super().forward(
                input_ids,
                pixel_values,
                attention_mask,
                position_ids,
                return_loss,
                interpolate_pos_encoding,
                return_dict=True,
                **kwargs,
            )
        losses = {}
        if plain.loss is not None:
            pairs = plain.image_embeds.new_ones(plain.image_embeds.shape[0], dtype=torch.long)
            losses = joint_loss(plain.loss, traced, self.config.bottleneck.penalty, pairs)
        return CodebookCLIPOutput(**dict(plain) | losses, codes=codes_by_site(traced))


class CodebookCLIPForImageClassification(Bottlenecked, CLIPForImageClassification):
    """CLIP's vision tower with codebook bottlenecks and a classifier on the mean of its patches."""

    config_class = CodebookCLIPConfig
    # Losses are divided by `num_items_in_batch`, so that accumulated steps equal the large batch.
    accepts_loss_kwargs = True
    _no_split_modules = CodebookCLIPVisionTower._no_split_modules

    def __init__(self, config: CodebookCLIPConfig):
        super().__init__(config)
        self.vision_model = CodebookCLIPVisionTower.in_place_of(self.vision_model, sub_config(config.vision_config))
        self.post_init()

    @classmethod
    def from_base(
        cls,
        base: str | os.PathLike | PreTrainedModel,
        bottleneck: PreTrainedConfig | None = None,
        layers: tuple[int, ...] | list[int] = (0,),
        classes: Sequence[str] | Mapping[int, str] | None = None,
        **kwargs: Any,
    ) -> "CodebookCLIPForImageClassification":
        """A plain CLIP checkpoint with new bottlenecks; its classifier is new where the base has none.

        Args:
            base: Hub id or local path of a `CLIPModel` or `CLIPForImageClassification`, or one in memory.
            bottleneck: as in `CodebookCLIPModel.from_base`, and so are `layers` and `kwargs`.
            layers: likewise.
            classes: names of the classes, in the order of their labels, as a list or an `id2label`; as in the base's
                config if not given.
            **kwargs: likewise.

        Raises:
            ValueError: as in `CodebookCLIPModel.from_base`, or if the base's classifier has another order of classes.
        """
        names = None if classes is None else class_names(classes)

        def make_config(plain, bottleneck):
            settings = _clip_with_bottlenecks(plain, bottleneck, layers)
            if names is not None:
                check_same_order(names, plain.id2label)
                settings["id2label"] = dict(enumerate(names))
                settings["label2id"] = {name: i for i, name in enumerate(names)}
            return CodebookCLIPConfig(**settings)

        return cls._from_plain(base, (CLIPConfig,), "CLIP", make_config, bottleneck, ("classifier.",), **kwargs)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> CodebookImageClassifierOutput:
        """The plain classifier's forward, with the joint loss.

        Args:
            labels: `(batch,)`, the class of each image; of another shape or kind for other `problem_type`s.
            num_items_in_batch: number of labels in the whole batch when this is a part of it (the Trainer passes it).
        """
        check_loss_is_here(labels, num_items_in_batch, self.training)
        with trace() as traced:
            plain = super().forward(pixel_values, labels, return_dict=True, **kwargs)
        losses = {}
        if labels is not None:
            items = (labels != -100).reshape(labels.shape[0], -1).sum(-1)
            losses = joint_loss(plain.loss, traced, self.config.bottleneck.penalty, items, num_items_in_batch)
        return CodebookImageClassifierOutput(**dict(plain) | losses, codes=codes_by_site(traced))


def _with_bottlenecks(vision: CLIPVisionConfig, bottleneck: PreTrainedConfig | None, layers: Sequence[int]) -> dict:
    settings = as_model_type(vision, CodebookCLIPVisionConfig.model_type)
    return settings | {"bottleneck": bottleneck, "bottleneck_layers": layers}


def _clip_with_bottlenecks(plain: CLIPConfig, bottleneck: PreTrainedConfig | None, layers: Sequence[int]) -> dict:
    vision = _with_bottlenecks(sub_config(plain.vision_config), bottleneck, layers)
    return as_model_type(plain, CodebookCLIPConfig.model_type) | {"vision_config": vision}


__all__ = [
    "CodebookCLIPForImageClassification",
    "CodebookCLIPModel",
    "CodebookCLIPOutput",
    "CodebookCLIPVisionModel",
    "CodebookCLIPVisionOutput",
    "CodebookImageClassifierOutput",
]
