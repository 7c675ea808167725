"""A codebook inside a sparse autoencoder: CodeUnlearn's bottleneck (sections 3.1 to 3.4, appendix A)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import initialization as init

from excise.bottlenecks.base import BottleneckOutput, drawn_tokens, told_apart
from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.codebook_sae.lookup import sum_of_codes, top_codes
from excise.bottlenecks.codebook_sae.sparse_lookup import (
    MAX_ACTIVE,
    MIN_COMPILED_TOKENS,
    MIN_TOKENS,
    ActiveUnits,
    can_be_prepared,
    drop_prepared,
    prepared_codebook,
    top_codes_of_units,
)
from excise.bottlenecks.codebook_sae.writing import WrittenCodebook
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
class CodebookSAE(WrittenCodebook):
    """Passes each activation on as the decoded sum of its `top_s` most similar codes, and as nothing else.

    A masked code keeps its row and can come back; a deleted code's row is zero. Neither is ever selected: the
    persistent buffer `live` is saved and loaded with the weights. So is `min_similarity`, the least cosine with its
    best code at which an activation is passed on, which `set_min_similarity` measures: one whose codes are gone is then
    passed on as nothing rather than as the next best codes, whose sum still resembles it.

    Attributes:
        sparse_lookup: whether codes are looked up by active units alone, for which a copy of the codebook is kept in
            memory, as large as that in fp32; both ways find the same codes. `None`, the default, leaves it to what is
            faster: on a processor, by active units where few are.
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
    together = True
    sparse_lookup: bool | None = None
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
        super()._init_weights(module)
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
        return self._features(self._units(hidden_states))

    def _units(self, hidden_states: Float[Tensor, "*tokens hidden_size"]) -> Tensor | ActiveUnits:
        standardized = (hidden_states.float() - self.mean.float()) / self.scale.float()
        units = self.encoder(standardized.to(self.dtype)).relu_()
        if self.config.active is None or self.config.active >= units.shape[-1]:
            return units
        values, places = units.topk(self.config.active, sorted=False)
        return ActiveUnits(values, places, units.shape[-1])

    def _features(self, units: Tensor | ActiveUnits, in_fp32: bool = False) -> Float[Tensor, "*tokens code_dim"]:
        dense = units.dense() if isinstance(units, ActiveUnits) else units
        norm = self.layer_norm
        if not in_fp32 or dense.dtype == torch.float32 or not can_be_prepared(self.codebook, norm):
            return norm(dense)
        return F.layer_norm(dense.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)

    def ranked(
        self, arrived: Float[Tensor, "tokens hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "tokens top_s"], Int64[Tensor, "tokens"]]:
        """The codes most similar to activations, and how many are similar enough; as `Bottleneck.ranked`."""
        codes, cosines = self.most_similar(arrived, top_s)
        return codes, (cosines >= self.min_similarity).sum(-1)

    def most_similar(
        self, hidden_states: Float[Tensor, "*tokens hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "*tokens top_s"], Float[Tensor, "*tokens top_s"]]:
        """The live codes most similar to activations, best first, and their cosines (eqs. 1 and 2).

        Units are in the bottleneck's own dtype, and all that follows in fp32.
        """
        return self._look_up(self._units(hidden_states), top_s)

    @torch.no_grad()
    def _look_up(
        self, units: Tensor | ActiveUnits, top_s: int, features: Tensor | None = None
    ) -> tuple[Int64[Tensor, "*tokens top_s"], Float[Tensor, "*tokens top_s"]]:
        if isinstance(units, ActiveUnits) and self._by_active_units(units):
            shape, live = units.values.shape[:-1], self.in_force
            codebook = prepared_codebook(self.codebook, self.layer_norm, live)
            codes, cosines = top_codes_of_units(units.flat(), codebook, self.layer_norm, top_s)
        else:
            if features is None or features.dtype != torch.float32:
                features = self._features(units, in_fp32=True)
            shape = features.shape[:-1]
            codes, cosines = top_codes(features.flatten(0, -2), self.codebook, top_s, self.in_force)
        return codes.unflatten(0, shape), cosines.unflatten(0, shape)

    def _by_active_units(self, units: ActiveUnits) -> bool:
        if self.sparse_lookup is False or not can_be_prepared(self.codebook, self.layer_norm):
            return False
        if self.sparse_lookup:
            return True
        if units.values.device.type != "cpu" or units.values.shape[-1] > MAX_ACTIVE * units.width:
            return False
        if torch.compiler.is_exporting():  # for any number of tokens, and one is most frequent
            return False
        # A compiled pass and a step of training prepare the codebook anew, which takes as long as so many tokens.
        least = MIN_COMPILED_TOKENS if torch.compiler.is_compiling() else MIN_TOKENS if self.training else 0
        return units.values[..., 0].numel() >= least

    def _passed_on(
        self, units: Tensor | ActiveUnits, features: Tensor | None = None
    ) -> tuple[Int64[Tensor, "*tokens top_s"], Float[Tensor, "*tokens top_s"]]:
        """The codes that tokens are passed on as; -1 where even the best is not similar enough; and their cosines."""
        codes, cosines = self._look_up(units, self.config.top_s, features)
        return codes.masked_fill(cosines[..., :1] < self.min_similarity, -1), cosines

    def _codes(
        self, units: Tensor | ActiveUnits, features: Tensor, real: Bool[Tensor, "batch seq"] | None
    ) -> Int64[Tensor, "batch seq top_s"]:
        """The codes that tokens are passed on as; -1 for those that are padding, which are not looked up."""
        if real is None:
            return self._passed_on(units, features)[0]
        if torch.compiler.is_compiling() or real.device.type != "cpu":  # where their number would have to be waited for
            return self._passed_on(units, features)[0].masked_fill(~real[..., None], -1)
        codes = torch.full((*real.shape, self.config.top_s), -1)
        units = units.at(real) if isinstance(units, ActiveUnits) else units[real]
        codes[real] = self._passed_on(units, features[real])[0]
        return codes

    def rank(
        self, arrived: Float[Tensor, "tokens hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "tokens 1 top_s"], Float[Tensor, "tokens 1 top_s"]]:
        """The codes most similar to activations of tokens, and their cosines; as `Bottleneck.rank`."""
        codes, cosines = self.most_similar(arrived, top_s)
        return codes.masked_fill(cosines < self.min_similarity, -1)[:, None], cosines[:, None]

    def selected(
        self, arrived: Float[Tensor, "batch seq hidden_size"]
    ) -> tuple[Int64[Tensor, "batch selected"], Float[Tensor, "batch selected"]]:
        """The codes that the tokens of each example are passed on as, and their cosines; -1 for none."""
        codes, cosines = self._passed_on(self._units(arrived))
        return codes.flatten(1), cosines.flatten(1)

    def rows_erased(self) -> None:
        """Forgets what the look-up keeps of the codebook."""
        drop_prepared(self.layer_norm)

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
        codes = self.encode(drawn_tokens(activations, self.num_codes, generator)).float()
        # Of equal codes the look-up takes the first alone.
        self.codebook.copy_(told_apart(codes, generator) / self.config.top_s)
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
        units = self._units(hidden_states)
        features = self._features(units)
        real = None if attention_mask is None else attention_mask.to(features.device).bool().expand(features.shape[:-1])
        codes = self._codes(units, features, real)
        summed, l1 = sum_of_codes(codes.flatten(0, -2), self.codebook)
        summed, l1 = summed.view_as(features), l1.view(codes.shape[:-1])
        decoded = self.decoder(straight_through(summed, features)).float()
        reconstruction = decoded * self.scale.float() + self.mean.float()

        target = hidden_states.detach() if self.config.detach_target else hidden_states
        error = (target.float() - reconstruction).square()
        if self.config.standardize:
            error = error.mean(-1) / self.scale.float().square()
        else:
            error = error.sum(-1)
        passed = reconstruction.to(hidden_states.dtype)
        return BottleneckOutput.of_tokens(self.config.penalty, real, error, l1, reconstruction=passed, codes=codes)


__all__ = ["CodebookSAE"]
