"""Image classifier of a frozen vision encoder, a key-value bottleneck, and a decoder without parameters."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import can_return_tuple

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.bottlenecks.key_value.configuration import KeyValueConfig
from excise.bottlenecks.site import BottleneckSite
from excise.data.class_names import class_names
from excise.models.base_checkpoint import BaseCheckpoint
from excise.models.bottlenecked import OF_THE_HUB, Bottlenecked, no_load_report
from excise.models.key_value.configuration_key_value import KeyValueVisionConfig
from excise.models.settings import sub_config

# Fields that the encoder's output may have.
STATES = ("hidden_states", "attentions")


@dataclass
class KeyValueClassifierOutput(ImageClassifierOutput):
    """An image classifier's output, and the pairs that it was read from.

    Args:
        loss (`torch.FloatTensor` of shape `()`, with `labels`): Cross-entropy, or the loss of another `problem_type`.
        logits (`torch.FloatTensor` of shape `(batch, num_labels)`): Mean of the selected values.
        hidden_states (`tuple[torch.FloatTensor]`, with `output_hidden_states` and pixels): The encoder's.
        attentions (`tuple[torch.FloatTensor]`, with `output_attentions` and pixels): The encoder's.
        pairs (`torch.LongTensor` of shape `(batch, num_codebooks * top_k)`): Selected pairs.
    """

    pairs: Tensor | None = None


class KeyValueForImageClassification(Bottlenecked, BottleneckSite, PreTrainedModel):
    """Classifies images by the values of their nearest keys (Unlearning via Sparse Representations, figure 1).

    The encoder is frozen and always in eval mode, and projections and keys never change: values are all that is
    trained. So what comes before them can be worked out once: `forward` takes `encodings`, or the `pairs` that they
    select, in the place of pixels.
    """

    config_class = KeyValueVisionConfig
    bottleneck: KeyValueBottleneck
    main_input_name = "pixel_values"
    input_modalities = "image"
    # Losses are divided by `num_items_in_batch`, so that accumulated steps equal the large batch.
    accepts_loss_kwargs = True
    site = "bottleneck"
    supports_gradient_checkpointing = True  # and nothing to do for it: a frozen encoder keeps nothing
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: KeyValueVisionConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        encoder = sub_config(config.encoder)
        self.encoder = AutoModel.from_config(encoder, **_pooling_layer(encoder, config.pooling))
        self.encoder.requires_grad_(False)
        self.bottleneck = KeyValueBottleneck(sub_config(config.bottleneck))
        self.gradient_checkpointing = False
        self.post_init()
        self.eval()

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As in transformers. A mask that is not the one its ledger tells of raises a `ValueError`."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.encoder.requires_grad_(False)  # loading makes new parameters
        return loaded

    @classmethod
    def _base_weights(cls, base: BaseCheckpoint, config: PreTrainedConfig, **access: Any) -> dict[str, Tensor]:
        # Of a model of this class, or of an encoder with a head or without.
        base.files(**access)
        plain = AutoConfig.from_pretrained(base.id, revision=base.revision, **access)
        if isinstance(plain, cls.config_class):
            return base.weights(**access)
        layer = _pooling_layer(config.encoder, config.pooling)
        encoder = AutoModel.from_pretrained(
            base.id, config=config.encoder, revision=base.revision, dtype="auto", **layer, **access
        )
        return {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}

    @classmethod
    def from_encoder(
        cls,
        encoder: str = "openai/clip-vit-base-patch32",
        bottleneck: KeyValueConfig | None = None,
        *,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | Sequence[str] | None = None,
        pooling: Literal["pooler", "first", "mean"] | None = None,
        dtype: torch.dtype = torch.float32,
        **kwargs: Any,
    ) -> "KeyValueForImageClassification":
        """A pretrained vision encoder with a new bottleneck; keys are still to be initialised, values to be trained.

        Args:
            encoder: Hub id or local path of a vision encoder (CLIP, ViT, DINOv2, ResNet, ...), with a head or without.
            bottleneck: settings of the bottleneck; the defaults if not given.
            num_labels: number of classes; that of `id2label` if not given.
            id2label: names of the classes, by label or as a list.
            pooling: as in `KeyValueVisionConfig`; if not given, the pooled output, or the first token where the pooling
                layer is an option that checkpoints need not have (ViT).
            dtype: of the encoder's weights; the bottleneck's are float32. All weights that are saved come back in one
                type, so a bundle can only be written of a model that is of one: `model.to(torch.float32)`, or
                `model.to(dtype)` with keys and values rounded.
            **kwargs: passed on to `AutoModel.from_pretrained` (`revision`, `token`, ...).

        Raises:
            ValueError: if neither `num_labels` nor `id2label` is given or they differ, or the checkpoint is no vision
                encoder, does not tell its width, or lacks weights. That it has no pooled output shows when it encodes.
        """
        names = class_names(id2label) if id2label else [f"LABEL_{i}" for i in range(num_labels or 0)]
        if not names or (num_labels is not None and num_labels != len(names)):
            raise ValueError(f"num_labels={num_labels}, id2label={id2label}: give one, or both of the same number.")
        hub = {key: kwargs[key] for key in OF_THE_HUB if key in kwargs}
        whole = AutoConfig.from_pretrained(encoder, **hub)
        vision = getattr(whole, "vision_config", whole)
        pooling = pooling or ("first" if _pooling_layer(vision, "first") else "pooler")
        config = KeyValueVisionConfig(
            encoder=vision, bottleneck=bottleneck, pooling=pooling, id2label=dict(enumerate(names))
        )
        layer = _pooling_layer(vision, pooling)
        with no_load_report():
            loaded, loading = AutoModel.from_pretrained(
                encoder, config=vision, dtype=dtype, output_loading_info=True, **layer, **kwargs
            )
        if loading["missing_keys"]:
            lost = sorted(loading["missing_keys"])
            raise ValueError(f"{encoder} lacks weights of a {type(loaded).__name__}: {lost[:5]} ({len(lost)} in all).")
        model = cls(config)
        model.encoder = loaded.requires_grad_(False)
        return model.eval()

    def train(self, mode: bool = True) -> "KeyValueForImageClassification":
        """As in torch, but that the encoder stays in eval mode: its batch norms and dropouts must not move."""
        super().train(mode)
        self.encoder.eval()
        return self

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Sets the encoder's."""
        self.encoder.set_input_embeddings(value)

    def encode(self, pixel_values: Tensor, **kwargs: Any) -> Tensor:
        """The encodings of images, `(batch, hidden_size)`, in eval mode whatever mode the encoder was put in.

        Args:
            pixel_values: `(batch, channels, height, width)`.
            **kwargs: passed on to the encoder.

        Raises:
            ValueError: if the encoder has no pooled output, or no tokens to pool.
        """
        return pooled(self._encoder_output(pixel_values, **kwargs), self.config.pooling)

    @torch.no_grad()
    def _encoder_output(self, pixel_values: Tensor, **kwargs: Any) -> Any:
        self.encoder.eval()
        return self.encoder(pixel_values=pixel_values.to(self.encoder.dtype), return_dict=True, **kwargs)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        encodings: Tensor | None = None,
        pairs: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> KeyValueClassifierOutput:
        """Classifies images.

        Args:
            pixel_values: `(batch, channels, height, width)`.
            labels: `(batch,)`, class indices, -100 for none; of another shape or kind for other `problem_type`s.
            encodings: what the encoder makes of the images, `(batch, hidden_size)`, in the place of pixels.
            pairs: what encodings select, `(batch, num_codebooks * top_k)`, in the place of both.
            num_items_in_batch: number of labels in the whole batch when this is a part of it (the Trainer passes it).
            **kwargs: passed on to the encoder where it runs: `output_hidden_states`, `interpolate_pos_encoding`, ...

        Raises:
            ValueError: if not exactly one of pixels, encodings and pairs is given, or pairs were removed.
        """
        if sum(given is not None for given in (pixel_values, encodings, pairs)) != 1:
            raise ValueError("Give exactly one of `pixel_values`, `encodings` and `pairs`.")
        encoded: Any = None
        if pairs is None:
            if pixel_values is not None:
                asked = {f"output_{what}": True for what in STATES if getattr(self.config, f"output_{what}", False)}
                kwargs = asked | kwargs
                if any(kwargs.get(f"output_{what}") for what in STATES):
                    encoded = self._encoder_output(pixel_values, **kwargs)
                    encodings = pooled(encoded, self.config.pooling)
                else:
                    encodings = self.encode(pixel_values, **kwargs)
            output = self.bottleneck(encodings)
            logits, pairs = output.values, output.pairs
        else:
            pairs = pairs.long()
            if not self.bottleneck.live[pairs].all():
                raise ValueError("`pairs` has pairs that were removed since it was made. Select pairs again.")
            logits = self.bottleneck.read(pairs)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits.float(), self.config)
            if num_items_in_batch is not None:
                count = (labels != -100).sum()
                loss = torch.where(count > 0, loss, 0) * (count / num_items_in_batch)  # a mean over nothing is NaN
        states = {what: getattr(encoded, what, None) for what in STATES}
        return KeyValueClassifierOutput(loss=loss, logits=logits, pairs=pairs, **states)


def pooled(output: Any, pooling: str) -> Tensor:
    """One vector for each image, `(batch, hidden_size)`, of an encoder's output.

    Raises:
        ValueError: if the output does not have what is to be pooled.
    """
    if pooling == "pooler":
        if getattr(output, "pooler_output", None) is None:
            raise ValueError("The encoder has no pooled output. Use pooling='first' (its first token) or 'mean'.")
        return output.pooler_output.flatten(1)
    states = output.last_hidden_state
    if pooling == "mean":
        return states.mean(1) if states.dim() == 3 else states.flatten(2).mean(2)
    if states.dim() != 3:
        raise ValueError(f"The encoder has no tokens but a map of shape {tuple(states.shape)}. Use pooling='mean'.")
    return states[:, 0]


def _pooling_layer(encoder: PreTrainedConfig, pooling: str) -> dict[str, bool]:
    """The argument that says whether an encoder has a pooling layer, where that is an option."""
    model_class: Any = MODEL_MAPPING.get(type(encoder), None)
    if getattr(model_class, "main_input_name", None) != "pixel_values":
        raise ValueError(
            f"A {encoder.model_type!r} model takes no images. Give a vision encoder: CLIP, ViT, ResNet, ..."
        )
    if "add_pooling_layer" not in inspect.signature(model_class.__init__).parameters:
        return {}
    return {"add_pooling_layer": pooling == "pooler"}


__all__ = ["KeyValueClassifierOutput", "KeyValueForImageClassification"]
