"""A codebook inside a sparse autoencoder: CodeUnlearn's bottleneck (sections 3.1 to 3.4, appendix A)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import initialization as init

from excise.bottlenecks.base import Bottleneck, BottleneckOutput
from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.codebook_sae.lookup import sum_of_codes, top_codes
from excise.bottlenecks.registry import register_kind

CODEUNLEARN = """\
@misc{wu2024codeunlearn,
  title         = {{CodeUnlearn}: Amortized Zero-Shot Machine Unlearning in Language Models Using Discrete Concept},
  author        = {Wu, YuXuan and Dossou, Bonaventure F. P. and Liu, Dianbo},
  year          = {2024},
  eprint        = {2410.10866},
  archivePrefix = {arXiv}
}"""


def straight_through(value: Float[Tensor, "*shape"], source: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`value`, with its own gradient and, in addition, passed unchanged to `source`.

    The selected codes are trained directly, and the encoder before the selection as if the selection were the
    identity (van den Oord et al., 2018).

    Example:
        >>> import torch
        >>> source = torch.tensor([0.3], requires_grad=True)
        >>> straight_through(torch.tensor([1.0]), source).backward()
        >>> source.grad.item()
        1.0
    """
    return value + (source - source.detach())


@register_kind
class CodebookSAE(Bottleneck):
    """Passes each activation on as the decoded sum of its `top_s` most similar codes, and as nothing else.

    A masked code keeps its row and can come back; a deleted code's row is zero. Neither is ever selected: the
    persistent buffer `live` is saved and loaded with the weights. So is `min_similarity`, the least cosine with its
    best code at which an activation is passed on, which `set_min_similarity` measures: one whose codes are gone is then
    passed on as nothing rather than as the next best codes, whose sum still resembles it.
    """

    config_class = CodebookSAEConfig
    main_input_name = "hidden_states"
    kind = "codebook"
    title = "codebook"
    limits = (
        "That nothing is said of the topic in other words: codes stand for words in context and not for facts, and "
        "what other words say of the topic stays."
    )
    citation = CODEUNLEARN
    code_tensors = ("codebook",)
    config: CodebookSAEConfig
    mean: Tensor
    scale: Tensor
    min_similarity: Tensor

    def __init__(self, config: CodebookSAEConfig):
        super().__init__(config)
        if config.hidden_size is None:
            raise ValueError("`hidden_size` is not set; give CodebookSAEConfig the width of the activations.")
        code_dim = config.code_dim or 4 * config.hidden_size
        self.encoder = nn.Linear(config.hidden_size, code_dim)
        self.layer_norm = nn.LayerNorm(code_dim, eps=config.layer_norm_eps)
        self.codebook = nn.Parameter(torch.empty(config.num_codes, code_dim))
        self.decoder = nn.Linear(code_dim, config.hidden_size)
        self.register_buffer("mean", torch.zeros(config.hidden_size))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("min_similarity", torch.tensor(-1.0))
        self.register_buffer("live", torch.ones(config.num_codes, dtype=torch.bool))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Only functions of transformers' `init`, which skip what a checkpoint has already filled: an in-place write
        # here would clear a loaded mask.
        if module is not self:
            return
        init.kaiming_uniform_(self.encoder.weight, nonlinearity="relu")
        init.zeros_(self.encoder.bias)
        init.ones_(self.layer_norm.weight)
        init.zeros_(self.layer_norm.bias)
        init.normal_(self.codebook, std=self.config.top_s**-0.5)  # so that a sum of S has the layer norm's scale
        init.kaiming_uniform_(self.decoder.weight, nonlinearity="linear")
        init.zeros_(self.decoder.bias)
        init.zeros_(self.mean)
        init.ones_(self.scale)
        init.constant_(self.min_similarity, -1.0)
        init.ones_(self.live)

    @property
    def top_s(self) -> int:
        """Number of codes that a token is passed on as, S."""
        return self.config.top_s

    def too_few(self, live: Tensor) -> str | None:
        """Why a mask leaves fewer live codes than a token needs; `None` where it leaves enough."""
        left, top_s = int(live.sum()), self.config.top_s
        if left >= top_s:
            return None
        return f"{left} of {len(live)} codes would stay live, fewer than the {top_s} that each token needs"

    def encode(self, hidden_states: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens code_dim"]:
        """What the codes are compared with: the standardised activation through linear, ReLU and layer norm (eq. 4).

        With `active`, the largest units alone stay between the last two.
        """
        standardized = (hidden_states.float() - self.mean.float()) / self.scale.float()
        units = torch.relu(self.encoder(standardized.to(self.dtype)))
        if self.config.active is not None and self.config.active < units.shape[-1]:
            units = units * (units >= units.topk(self.config.active).values[..., -1:])
        return self.layer_norm(units)

    def similar_codes(
        self, features: Float[Tensor, "*tokens code_dim"], top_s: int
    ) -> tuple[Int64[Tensor, "*tokens top_s"], Float[Tensor, "*tokens top_s"]]:
        """The live codes most similar to encoded activations, best first, and their cosines (eqs. 1 and 2)."""
        codes, cosines = top_codes(features.flatten(0, -2), self.codebook, top_s, self.in_force)
        return codes.unflatten(0, features.shape[:-1]), cosines.unflatten(0, features.shape[:-1])

    def select(self, features: Float[Tensor, "*tokens code_dim"]) -> Int64[Tensor, "*tokens top_s"]:
        """The codes that encoded activations are passed on as; -1 where even the best is not similar enough."""
        return self._passed_on(features)[0]

    def _passed_on(
        self, features: Float[Tensor, "*tokens code_dim"]
    ) -> tuple[Int64[Tensor, "*tokens top_s"], Float[Tensor, "*tokens top_s"]]:
        codes, cosines = self.similar_codes(features, self.config.top_s)
        return codes.masked_fill(cosines[..., :1] < self.min_similarity, -1), cosines

    def rank(
        self, arrived: Float[Tensor, "tokens hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "tokens 1 top_s"], Float[Tensor, "tokens 1 top_s"]]:
        """The codes most similar to activations of tokens, and their cosines; as `Bottleneck.rank`."""
        codes, cosines = self.similar_codes(self.encode(arrived), top_s)
        return codes.masked_fill(cosines < self.min_similarity, -1)[:, None], cosines[:, None]

    def selected(
        self, arrived: Float[Tensor, "batch seq hidden_size"]
    ) -> tuple[Int64[Tensor, "batch selected"], Float[Tensor, "batch selected"]]:
        """The codes that the tokens of each example are passed on as, and their cosines; -1 for none."""
        codes, cosines = self._passed_on(self.encode(arrived))
        return codes.flatten(1), cosines.flatten(1)

    @torch.no_grad()
    def start_from_data(self, activations: Float[Tensor, "tokens hidden_size"], generator: torch.Generator) -> None:
        """Mean and scale of activations, and codes that are encoded activations of random tokens, divided by S.

        Args:
            activations: what arrives at the bottleneck.
            generator: of the draw.
        """
        if self.config.standardize:
            self.mean.copy_(activations.mean(0))
            self.scale.copy_((activations - self.mean.float()).square().mean().sqrt().clamp_min(1e-12))
        # Each token once before any token twice.
        repeats = -(-self.num_codes // len(activations))
        drawn = torch.cat([torch.randperm(len(activations), generator=generator) for _ in range(repeats)])
        codes = self.encode(activations[drawn[: self.num_codes].to(activations.device)]).float()
        # Equal tokens, such as an end of sentence, would make equal codes, of which the lookup only takes the first.
        noise = torch.randn(codes.shape, generator=generator).to(codes.device)
        self.codebook.copy_((codes + 0.1 * codes.std() * noise) / self.config.top_s)
        self.min_similarity.fill_(-1.0)  # it was measured with other codes

    def forward(
        self,
        hidden_states: Float[Tensor, "batch seq hidden_size"],
        attention_mask: Bool[Tensor, "batch seq"] | Int64[Tensor, "batch seq"] | None = None,
    ) -> BottleneckOutput:
        """Replaces activations by what their codes say of them.

        Args:
            hidden_states: activations, `(batch, seq, hidden_size)`.
            attention_mask: 0 or False at padding, which then counts in no loss and has code -1.
        """
        features = self.encode(hidden_states)
        codes = self.select(features)
        flat = codes.flatten(0, -2)
        summed = sum_of_codes(flat, self.codebook).view_as(features)
        decoded = self.decoder(straight_through(summed, features)).float()
        reconstruction = decoded * self.scale.float() + self.mean.float()

        target = hidden_states.detach() if self.config.detach_target else hidden_states
        error = (target.float() - reconstruction).square()
        if self.config.standardize:
            error = error.mean(-1) / self.scale.float().square()
        else:
            error = error.sum(-1)
        # One norm a code, looked up: the same as, and less memory than, the norms of every selected vector.
        norms = self.codebook.float().abs().sum(-1)
        l1 = norms[codes.clamp_min(0)].masked_fill(codes < 0, 0).sum(-1)

        tokens = error.numel()
        if attention_mask is not None:
            padding = ~attention_mask.to(codes.device).bool()  # a device map may have it elsewhere
            codes = codes.masked_fill(padding[..., None], -1)
            error = error.masked_fill(padding, 0)
            l1 = l1.masked_fill(padding, 0)
            tokens = (~padding).sum().clamp_min(1)
        return BottleneckOutput(
            reconstruction=reconstruction.to(hidden_states.dtype),
            codes=codes,
            reconstruction_error=error,
            l1=l1,
            loss=self.config.penalty(error, l1).sum() / tokens,
        )


__all__ = ["CodebookSAE"]
