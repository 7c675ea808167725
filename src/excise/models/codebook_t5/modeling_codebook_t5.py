"""T5 whose encoder passes all it knows through a codebook (CodeUnlearn, figure 1)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, Cache, T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5LayerSelfAttention
from transformers.utils import can_return_tuple

from excise.bottlenecks import CodebookSAEConfig
from excise.ledger import check_masks
from excise.models.codebook_t5.configuration_codebook_t5 import CodebookT5Config
from excise.models.site import BottleneckSite, bottlenecks
from excise.tracing import checkpoint_contexts, trace


@dataclass
class CodebookSeq2SeqLMOutput(Seq2SeqLMOutput):
    """T5's output, and what the bottlenecks add to it. The added fields are `None` where the encoder did not run.

    Args:
        loss (`torch.FloatTensor` of shape `()`, with `labels`): Joint loss, eq. 8: the three below, weighted.
        task_loss (`torch.FloatTensor` of shape `()`, with `labels`): Cross-entropy.
        reconstruction_loss (`torch.FloatTensor` of shape `()`, with `labels`): Unexplained variance (or the raw
            squared error), summed over sites.
        l1_loss (`torch.FloatTensor` of shape `()`, with `labels`): L1 norm of the selected codes, not yet weighted.
        codes (`dict[str, torch.LongTensor]`): Codes by site, `(batch, seq, top_s)`, -1 at padding.
    """

    task_loss: Tensor | None = None
    reconstruction_loss: Tensor | None = None
    l1_loss: Tensor | None = None
    codes: dict[str, Tensor] | None = None


class CodebookT5LayerSelfAttention(BottleneckSite, T5LayerSelfAttention):
    """Self-attention and residual, then the bottleneck: a subclass, so that plain T5 weights keep their names."""

    def forward(self, *args, **kwargs):
        hidden_states, *rest = super().forward(*args, **kwargs)
        return (self.pass_through_bottleneck(hidden_states), *rest)


class CodebookT5ForConditionalGeneration(T5ForConditionalGeneration):
    """T5 for conditional generation with codebook bottlenecks in its encoder.

    A mask of codes is in force wherever the encoder runs. `encoder_outputs` that were computed before a mask was set
    are the exception, as they are already past the bottleneck.
    """

    config_class = CodebookT5Config
    # Losses are divided by `num_items_in_batch`, so that accumulated steps equal the large batch.
    accepts_loss_kwargs = True

    def __init__(self, config: CodebookT5Config):
        super().__init__(config)
        for i in config.bottleneck_layers:
            layer = CodebookT5LayerSelfAttention(self.encoder.config, has_relative_attention_bias=i == 0, layer_idx=i)
            layer.attach(f"encoder.block.{i}", config.bottleneck)
            self.encoder.block[i].layer[0] = layer
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As in transformers. A mask that is not the one its ledger tells of raises a `ValueError`."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        check_masks(model.config.unlearning, bottlenecks(model))
        return loaded

    @classmethod
    def from_base(
        cls,
        base: str,
        bottleneck: CodebookSAEConfig | None = None,
        layers: tuple[int, ...] | list[int] = (0,),
        **kwargs,
    ) -> "CodebookT5ForConditionalGeneration":
        """A plain T5 or Flan-T5 checkpoint with new bottlenecks; every base weight is as it was.

        Args:
            base: Hub id or local path of a `T5ForConditionalGeneration`.
            bottleneck: settings of the bottlenecks; the defaults if not given.
            layers: encoder blocks, counted from 0, that get one.
            **kwargs: passed on to `from_pretrained` (`revision`, `dtype`, `device_map`, ...).

        Raises:
            ValueError: if `base` is no plain T5, or lacks weights that a T5 has.

        Example:
            >>> model = CodebookT5ForConditionalGeneration.from_base("t5-small")  # doctest: +SKIP
        """
        hub = {k: kwargs[k] for k in ("revision", "token", "cache_dir", "local_files_only", "subfolder") if k in kwargs}
        base_config = AutoConfig.from_pretrained(base, **hub)
        if type(base_config) is not T5Config:
            raise ValueError(
                f"{base} is a {base_config.model_type!r} model; from_base takes a plain T5. "
                f"Use from_pretrained for a checkpoint that has bottlenecks already."
            )
        # Not `CodebookT5Config.from_pretrained(base)`, whose `model_type` would stay "t5".
        settings = base_config.to_dict() | {"architectures": None, "model_type": cls.config_class.model_type}
        config = cls.config_class(**settings, bottleneck=bottleneck, bottleneck_layers=layers)
        model, loading = cls.from_pretrained(base, config=config, output_loading_info=True, **kwargs)
        lost = [key for key in loading["missing_keys"] if ".bottleneck." not in key]
        if lost:
            raise ValueError(f"{base} lacks weights of a T5: {sorted(lost)[:5]} ({len(lost)} in all).")
        return model

    def resize_token_embeddings(self, *args, **kwargs):
        """As in transformers. A head of its own, as Flan-T5 has, is resized and not tied to the embeddings."""
        declared = self.config.tie_word_embeddings
        self.config.tie_word_embeddings = self.lm_head.weight is self.shared.weight
        try:
            return super().resize_token_embeddings(*args, **kwargs)
        finally:
            self.config.tie_word_embeddings = declared  # T5 always says True, and loading ties what has no own weight

    def _set_gradient_checkpointing(self, enable=True, gradient_checkpointing_func=checkpoint, **kwargs):
        # Every way to switch checkpointing on, old or new, ends here.
        if enable:
            if getattr(gradient_checkpointing_func, "keywords", {}).get("use_reentrant"):
                raise ValueError(
                    "use_reentrant=True loses the gradient of the codebook loss. "
                    "Pass activation_checkpointing_kwargs={'use_reentrant': False}, or nothing."
                )
            gradient_checkpointing_func = partial(
                gradient_checkpointing_func, use_reentrant=False, context_fn=checkpoint_contexts
            )
        super()._set_gradient_checkpointing(enable, gradient_checkpointing_func, **kwargs)

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
        **kwargs,
    ) -> CodebookSeq2SeqLMOutput:
        """T5's forward, with the joint loss (eq. 8).

        Args:
            attention_mask: `(batch, seq)`, 0 at padding, which counts in no loss.
            labels: `(batch, target_seq)`, -100 where there is nothing to predict.
            num_items_in_batch: number of labels in the whole batch when this is a part of it (the Trainer passes it).
        """
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
        output = CodebookSeq2SeqLMOutput(**plain)
        if traced.outputs:
            output.codes = {site: bottleneck.codes for site, bottleneck in traced.outputs.items()}
        if labels is not None:
            self._add_losses(output, traced, labels, num_items_in_batch)
        return output

    def _add_losses(self, output, traced, labels, num_items_in_batch):
        """Sets the joint loss and its parts.

        Every example's codebook loss (a mean over its tokens) weighs as much as its labels do in the cross-entropy.
        So the joint loss of a batch is one weighted mean, and the parts of a batch add up to it exactly.
        """
        items = (labels != -100).sum(-1)
        whole = items.sum() if num_items_in_batch is None else num_items_in_batch
        output.task_loss = output.loss * (items.sum() / whole)
        output.loss = output.task_loss
        if not traced.outputs:
            return
        weights = (items / whole).to(output.loss.device)

        def mean(per_token):
            mask = traced.attention_mask
            tokens = per_token.shape[1] if mask is None else mask.sum(-1).clamp_min(1).to(per_token.device)
            return (per_token.sum(-1) / tokens).to(weights.device) @ weights.to(per_token.dtype)

        output.reconstruction_loss = sum(mean(site.reconstruction_error) for site in traced.outputs.values())
        output.l1_loss = sum(mean(site.l1) for site in traced.outputs.values())
        output.loss = output.task_loss + self.config.bottleneck.penalty(output.reconstruction_loss, output.l1_loss)


__all__ = ["CodebookSeq2SeqLMOutput", "CodebookT5ForConditionalGeneration"]
