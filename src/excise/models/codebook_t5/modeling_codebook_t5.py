"""T5 with codebook bottlenecks in its encoder (CodeUnlearn, figure 1)."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Cache,
    MT5Config,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
)
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5LayerSelfAttention
from transformers.utils import can_return_tuple

from excise.bottlenecks.registry import make_bottleneck
from excise.bottlenecks.site import BottleneckSite
from excise.bottlenecks.tracing import current_trace, trace
from excise.models.bottlenecked import Bottlenecked, as_model_type
from excise.models.codebook_t5.configuration_codebook_t5 import CodebookT5Config
from excise.models.outputs import CodebookFields, check_loss_is_here, codes_by_site, joint_loss
from excise.models.settings import sub_config


@dataclass
class CodebookSeq2SeqLMOutput(CodebookFields, Seq2SeqLMOutput):
    """T5's output and [`CodebookFields`]. `loss` is the joint loss, eq. 8: the cross-entropy and the codebooks' own."""


class CodebookT5LayerSelfAttention(BottleneckSite, T5LayerSelfAttention):
    """Self-attention and residual, then the bottleneck: a subclass, so that plain T5 weights keep their names."""

    def forward(self, *args, **kwargs):
        hidden_states, *rest = super().forward(*args, **kwargs)
        return (self.pass_through_bottleneck(hidden_states, current_trace().attention_mask), *rest)


class UMT5LayerSelfAttention(T5LayerSelfAttention):
    """Self-attention with a position bias of its own, as each layer of a UMT5 has."""

    def forward(self, *args, **kwargs):
        # What is given is the bias of the layer before, which a T5 goes on with.
        return super().forward(*args, **kwargs | {"position_bias": None})


class CodebookUMT5LayerSelfAttention(CodebookT5LayerSelfAttention, UMT5LayerSelfAttention):
    """The same, and then the bottleneck."""


class CodebookT5ForConditionalGeneration(Bottlenecked, T5ForConditionalGeneration):
    """T5, Flan-T5, mT5 or UMT5 for conditional generation with codebook bottlenecks in its encoder.

    A mask of codes is in force wherever the encoder runs. `encoder_outputs` that were computed before a mask was set
    are the exception, as they are already past the bottleneck.
    """

    config_class = CodebookT5Config
    # Losses are divided by `num_items_in_batch`, so that accumulated steps equal the large batch.
    accepts_loss_kwargs = True

    def __init__(self, config: CodebookT5Config):
        super().__init__(config)
        own_bias = config.plain_type == UMT5Config.model_type
        if own_bias:
            for stack in (self.encoder, self.decoder):
                for i in range(len(stack.block)):
                    stack.set_submodule(f"block.{i}.layer.0", UMT5LayerSelfAttention(stack.config, True, layer_idx=i))
        site_class = CodebookUMT5LayerSelfAttention if own_bias else CodebookT5LayerSelfAttention
        for i in config.bottleneck_layers:
            layer = site_class(self.encoder.config, has_relative_attention_bias=own_bias or i == 0, layer_idx=i)
            layer.attach(f"encoder.block.{i}", make_bottleneck(sub_config(config.bottleneck)))
            self.encoder.set_submodule(f"block.{i}.layer.0", layer)
        self.post_init()

    @classmethod
    def from_base(
        cls,
        base: str | os.PathLike | PreTrainedModel,
        bottleneck: PreTrainedConfig | None = None,
        layers: tuple[int, ...] | list[int] = (0,),
        **kwargs: Any,
    ) -> "CodebookT5ForConditionalGeneration":
        """A plain T5, Flan-T5, mT5 or UMT5 with new bottlenecks; every base weight is as it was.

        Args:
            base: Hub id or local path of a `T5ForConditionalGeneration` (or `MT5...`, `UMT5...`), or such a model in
                memory, whose weights are copied.
            bottleneck: settings of the bottlenecks, of any kind; the defaults of `CodebookSAEConfig` if not given.
            layers: encoder blocks, counted from 0, that get one.
            **kwargs: single fields of the bottleneck's settings (`num_codes=4096`) and of the base's (`dropout_rate`);
                others go on to `from_pretrained` (`revision`, `dtype`, `device_map`, ...).

        Raises:
            ValueError: if `base` is no plain T5, or lacks weights that a T5 has; or an argument is no such name.

        Example:
            >>> model = CodebookT5ForConditionalGeneration.from_base("t5-small", num_codes=4096)  # doctest: +SKIP
        """

        def make_config(plain, bottleneck):
            settings = as_model_type(plain, cls.config_class.model_type)
            if plain.model_type != T5Config.model_type:
                settings["plain_type"] = plain.model_type
            # An mT5 has its output as it is; a T5 says in its config whether it is scaled, a UMT5 scales it.
            settings.setdefault("scale_decoder_outputs", plain.model_type != MT5Config.model_type)
            return cls.config_class(**settings, bottleneck=bottleneck, bottleneck_layers=layers)

        plain = (T5Config, MT5Config, UMT5Config)
        return cls._from_plain(base, plain, "T5", make_config, bottleneck, **kwargs)

    def resize_token_embeddings(self, *args, **kwargs):
        """As in transformers. A head of its own, as Flan-T5 has, is resized and not tied to the embeddings."""
        declared = self.config.tie_word_embeddings
        self.config.tie_word_embeddings = self.lm_head.weight is self.shared.weight
        try:
            return super().resize_token_embeddings(*args, **kwargs)
        finally:
            self.config.tie_word_embeddings = declared  # T5 always says True, and loading ties what has no own weight

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: torch.LongTensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: tuple | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> CodebookSeq2SeqLMOutput:
        """T5's forward, with the joint loss (eq. 8).

        Args:
            attention_mask: `(batch, seq)`, 0 at padding, which counts in no loss.
            labels: `(batch, target_seq)`, -100 where there is nothing to predict.
            num_items_in_batch: number of labels in the whole batch when this is a part of it (the Trainer passes it).
        """
        check_loss_is_here(labels, num_items_in_batch, self.training)
        with trace(attention_mask if attention_mask is not None and attention_mask.dim() == 2 else None) as traced:
            plain = super().forward(
                input_ids,
                attention_mask,
                decoder_input_ids,
                decoder_attention_mask,
                encoder_outputs,
                past_key_values,
                inputs_embeds,
                decoder_inputs_embeds,
                labels,
                use_cache,
                return_dict=True,
                **kwargs,
            )
        losses = {}
        if labels is not None:
            items = (labels != -100).sum(-1)
            losses = joint_loss(plain.loss, traced, self.config.bottleneck.penalty, items, num_items_in_batch)
        return CodebookSeq2SeqLMOutput(**dict(plain) | losses, codes=codes_by_site(traced))


__all__ = ["CodebookSeq2SeqLMOutput", "CodebookT5ForConditionalGeneration"]
