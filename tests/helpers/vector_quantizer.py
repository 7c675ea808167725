"""A third kind of bottleneck: a plain vector quantiser, each token its nearest code (van den Oord et al., 2017)."""

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers import initialization as init

from excise.bottlenecks import Bottleneck, BottleneckOutput, register_kind


@strict
class VectorQuantizerConfig(PreTrainedConfig):
    """Settings of a [`VectorQuantizer`]."""

    model_type = "vector_quantizer"

    hidden_size: int | None = None
    num_codes: int = 64
    reconstruction_weight: float | int = 0.25
    l1_weight: float | int = 0.0

    def resize(self, num_codes: int) -> None:
        self.num_codes = num_codes

    def penalty(self, reconstruction, l1):
        return self.reconstruction_weight * reconstruction + self.l1_weight * l1


@register_kind
class VectorQuantizer(Bottleneck):
    """Passes each activation on as its nearest code."""

    config_class = VectorQuantizerConfig
    main_input_name = "hidden_states"
    kind = "vector_quantizer"
    title = "vector quantiser"
    code_tensors = ("codebook",)
    top_s = 1

    def __init__(self, config: VectorQuantizerConfig):
        super().__init__(config)
        self.codebook = nn.Parameter(torch.empty(config.num_codes, config.hidden_size))
        self.register_buffer("live", torch.ones(config.num_codes, dtype=torch.bool))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if module is self:
            init.normal_(self.codebook)
            init.ones_(self.live)

    def too_few(self, live: Tensor) -> str | None:
        return None if live.any() else "no code would stay live"

    def rank(self, arrived: Tensor, top_s: int) -> tuple[Tensor, Tensor]:
        distances = torch.cdist(arrived.float(), self.codebook.float())
        nearest = distances.masked_fill(~self.live, float("inf")).topk(top_s, largest=False)
        return nearest.indices[:, None], -nearest.values[:, None]

    def selected(self, arrived: Tensor) -> tuple[Tensor, Tensor]:
        codes, similarity = self.rank(arrived.flatten(0, -2), 1)
        return codes.view(len(arrived), -1), similarity.view(len(arrived), -1)

    @torch.no_grad()
    def start_from_data(self, activations: Tensor, generator: torch.Generator) -> None:
        drawn = torch.randint(len(activations), (self.num_codes,), generator=generator)
        self.codebook.copy_(activations[drawn])

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> BottleneckOutput:
        codes = self.rank(hidden_states.flatten(0, -2), 1)[0].view(*hidden_states.shape[:-1], 1)
        quantised = self.codebook[codes[..., 0]]
        error = (hidden_states.float() - quantised.float()).square().mean(-1)
        l1 = quantised.float().abs().sum(-1)
        if attention_mask is not None:
            padding = ~attention_mask.to(codes.device).bool()
            codes = codes.masked_fill(padding[..., None], -1)
            error, l1 = error.masked_fill(padding, 0), l1.masked_fill(padding, 0)
        return BottleneckOutput(
            reconstruction=(quantised + (hidden_states - hidden_states.detach())).to(hidden_states.dtype),
            codes=codes,
            reconstruction_error=error,
            l1=l1,
            loss=self.config.penalty(error, l1).sum() / (codes >= 0).sum().clamp_min(1),
        )
