"""Configuration of an image classifier with a key-value bottleneck."""

from typing import Any, Literal, cast

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from excise.bottlenecks.key_value.configuration import KeyValueConfig
from excise.bottlenecks.registry import own_settings
from excise.data.class_names import class_names
from excise.models.settings import sub_config


@strict
class KeyValueVisionConfig(PreTrainedConfig):
    r"""Settings of a [`KeyValueForImageClassification`].

    Args:
        encoder (`PreTrainedConfig` or `dict`): Configuration of the vision encoder.
        bottleneck (`KeyValueConfig` or `dict`, *optional*): Settings of the bottleneck; its defaults if not given.
        pooling (`"pooler"`, `"first"` or `"mean"`, defaults to `"pooler"`): What is the encoding of an image: the
            encoder's pooled output, its first token, or the mean over its tokens. The pooled output of CLIP ViT-B/32
            is 768 wide: it comes before the projection to 512 that texts are compared with. The linear layer of the
            baselines takes the same. The paper does not say which of the two it took.
        unlearning (`dict`, *optional*): The ledger of what was forgotten. Written by [`Unlearner`], not by hand.
    """

    model_type = "key_value_vision"
    sub_configs = {"encoder": AutoConfig, "bottleneck": KeyValueConfig}
    keys_to_ignore_at_inference = ["pairs"]

    encoder: dict | PreTrainedConfig | None = None
    bottleneck: dict | KeyValueConfig | None = None
    pooling: Literal["pooler", "first", "mean"] = "pooler"
    unlearning: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        if self.encoder is None:
            self.encoder = AutoConfig.for_model("clip_vision_model")  # transformers builds configs without arguments
        elif isinstance(self.encoder, dict):
            self.encoder = AutoConfig.for_model(**self.encoder)
        bottleneck = own_settings(self.bottleneck, self.encoding_size, KeyValueConfig)
        self.bottleneck = cast(KeyValueConfig, bottleneck)  # `strict` refuses another kind
        named = self.id2label is not None
        if isinstance(self.id2label, list | tuple):
            self.id2label = dict(enumerate(class_names(self.id2label)))
        super().__post_init__(**kwargs)
        if named:  # whatever was given, or saved, beside it
            self.label2id = {name: label for label, name in cast(dict[int, str], self.id2label).items()}
        if self.bottleneck.value_dim is None:
            self.bottleneck.value_dim = self.num_labels
        self.validate_bottleneck()  # here too: what `strict` raises is no ValueError

    @property
    def encoding_size(self) -> int:
        """Width of the encoder's output."""
        sizes = getattr(self.encoder, "hidden_sizes", None)  # of convolutional encoders, one for each stage
        width = sizes[-1] if sizes else getattr(self.encoder, "hidden_size", None)
        if width is None:
            raise ValueError(
                f"The configuration of a {sub_config(self.encoder).model_type!r} encoder has neither `hidden_size` nor "
                "`hidden_sizes`, so the width of its output is not known. CLIP, ViT, DINOv2 and ResNet have one."
            )
        return width

    def validate_bottleneck(self):
        """Refuse a bottleneck that does not fit the encoder or the classes."""
        sub_config(self.bottleneck).validate_sizes()  # now that its width is known
        for name, width in (("hidden_size", self.encoding_size), ("value_dim", self.num_labels)):
            if getattr(self.bottleneck, name) != width:
                raise ValueError(
                    f"The bottleneck's `{name}` is {getattr(self.bottleneck, name)}, but the model needs {width}. "
                    "In a new bottleneck, leave it out; a trained one keeps its encoder and its classes."
                )


__all__ = ["KeyValueVisionConfig"]
