"""Configuration of a CLIP with codebook bottlenecks in its vision tower."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.registry import own_settings
from excise.data.class_names import class_names
from excise.models.settings import check_layers, check_width, sub_config


@strict
class CodebookCLIPVisionConfig(CLIPVisionConfig):
    r"""A [`~transformers.CLIPVisionConfig`] with bottlenecks. All other arguments are CLIP's.

    Args:
        bottleneck (`PreTrainedConfig` or `dict`, *optional*): Settings of every bottleneck, of any registered kind; the
            defaults of `CodebookSAEConfig` if not given.
        bottleneck_layers (`list[int]`, defaults to `(0,)`): Vision layers, counted from 0, that get a bottleneck after
            self-attention and residual and before the second layer norm and the feed-forward. All positions pass it,
            the class token's included.
        unlearning (`dict`, *optional*): The ledger of what was forgotten. Written by [`Unlearner`], not by hand. It is
            the vision tower's, so that it goes with the tower wherever its weights go.
    """

    model_type = "codebook_clip_vision_model"
    sub_configs = {"bottleneck": CodebookSAEConfig}
    keys_to_ignore_at_inference = ["codes"]

    bottleneck: dict | PreTrainedConfig | None = None
    bottleneck_layers: list[int] | tuple[int, ...] = (0,)
    unlearning: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        self.bottleneck = own_settings(self.bottleneck, self.hidden_size, CodebookSAEConfig)
        self.bottleneck_layers = sorted(self.bottleneck_layers)
        super().__post_init__(**kwargs)
        self.validate_bottleneck()  # here too: what `strict` raises is no ValueError

    def validate_bottleneck(self):
        """Refuse sites that the model does not have and activations of another width."""
        check_layers(self.bottleneck_layers, self.num_hidden_layers, "vision layer")
        check_width(sub_config(self.bottleneck), "hidden_size", self.hidden_size)


@strict
class CodebookCLIPConfig(CLIPConfig):
    r"""A [`~transformers.CLIPConfig`] whose vision tower has bottlenecks. All other arguments are CLIP's.

    `bottleneck`, `bottleneck_layers` and `unlearning` are those of the vision tower.

    Args:
        vision_config (`CodebookCLIPVisionConfig` or `dict`, *optional*): The vision tower and its bottlenecks.
    """

    model_type = "codebook_clip"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {  # the classes alone would do from transformers 5.21 on
        "vision_config": SubConfigSpec(CodebookCLIPVisionConfig),
        "text_config": SubConfigSpec(CLIPTextConfig),
    }
    keys_to_ignore_at_inference = [
        "text_model_output",
        "vision_model_output",
        "task_loss",
        "reconstruction_loss",
        "l1_loss",
        "codes",
    ]

    vision_config: dict | CodebookCLIPVisionConfig | None = None

    def __post_init__(self, **kwargs):
        if isinstance(self.id2label, list | tuple):
            self.id2label = dict(enumerate(class_names(self.id2label)))
            self.label2id = {name: label for label, name in self.id2label.items()}
        super().__post_init__(**kwargs)

    @property
    def bottleneck(self) -> PreTrainedConfig:
        """Settings of every bottleneck."""
        return sub_config(sub_config(self.vision_config).bottleneck)

    @property
    def bottleneck_layers(self) -> list[int] | tuple[int, ...]:
        """Vision layers that have a bottleneck."""
        return sub_config(self.vision_config).bottleneck_layers

    @property
    def unlearning(self) -> dict[str, Any] | None:
        """The ledger."""
        return sub_config(self.vision_config).unlearning

    @unlearning.setter
    def unlearning(self, state: dict[str, Any] | None) -> None:
        sub_config(self.vision_config).unlearning = state


__all__ = ["CodebookCLIPConfig", "CodebookCLIPVisionConfig"]
