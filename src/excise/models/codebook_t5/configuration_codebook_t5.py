"""Configuration of a T5 with codebook bottlenecks."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, T5Config

from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.registry import own_settings
from excise.models.settings import check_layers, check_width, sub_config

PLAIN_TYPES = ("t5", "mt5", "umt5")


@strict
class CodebookT5Config(T5Config):
    r"""A [`~transformers.T5Config`] with bottlenecks. All other arguments are T5's.

    Args:
        bottleneck (`PreTrainedConfig` or `dict`, *optional*): Settings of every bottleneck, of any registered kind; the
            defaults of `CodebookSAEConfig` if not given.
        bottleneck_layers (`list[int]`, defaults to `(0,)`): Encoder blocks, counted from 0, that get a bottleneck
            after self-attention and residual and before the feed-forward. In the first, a word's neighbours know least
            of it (docs/method/experiments.md). The paper's third layer is block 2.
        unlearning (`dict`, *optional*): The ledger of what was forgotten. Written by [`Unlearner`], not by hand.

    Attributes:
        plain_type: What the model is without its bottlenecks: `"t5"`, `"mt5"` or `"umt5"`, each layer of which has a
            position bias of its own. Written by `from_base`; of a T5 there is none in what is saved.
    """

    model_type = "codebook_t5"
    sub_configs = {"bottleneck": CodebookSAEConfig}
    plain_type = "t5"  # no field, so that a T5's settings are as they always were
    keys_to_ignore_at_inference = ["past_key_values", "task_loss", "reconstruction_loss", "l1_loss", "codes"]

    bottleneck: dict | PreTrainedConfig | None = None
    bottleneck_layers: list[int] | tuple[int, ...] = (0,)
    unlearning: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        self.bottleneck = own_settings(self.bottleneck, self.d_model, CodebookSAEConfig)
        self.bottleneck_layers = sorted(self.bottleneck_layers)
        super().__post_init__(**kwargs)
        self.validate_bottleneck()  # here too: what `strict` raises is no ValueError

    def validate_bottleneck(self):
        """Refuse sites that there are not, activations of another width, and a plain model of another kind."""
        if self.plain_type not in PLAIN_TYPES:
            raise ValueError(f"`plain_type` is {self.plain_type!r}; expected one of {', '.join(PLAIN_TYPES)}.")
        check_layers(self.bottleneck_layers, self.num_layers, "encoder block")
        check_width(sub_config(self.bottleneck), "d_model", self.d_model)


__all__ = ["CodebookT5Config"]
