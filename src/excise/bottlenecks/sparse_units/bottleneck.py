"""Sparse units: a top-k sparse autoencoder with nothing beside it, whose active units are a token's codes."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils.generic import maybe_autocast

from excise.bottlenecks.base import Bottleneck, BottleneckOutput, drawn_tokens, told_apart
from excise.bottlenecks.registry import register_kind
from excise.bottlenecks.sparse_units.active import Active, largest, without_outliers
from excise.bottlenecks.sparse_units.configuration import SparseUnitsConfig

TOPK_AUTOENCODERS = """\
@misc{gao2024scaling,
  title         = {Scaling and evaluating sparse autoencoders},
  author        = {Gao, Leo and {Dupr{\\'e} la Tour}, Tom and Tillman, Henk and Goh, Gabriel and Troll, Rajan and
                   Radford, Alec and Sutskever, Ilya and Leike, Jan and Wu, Jeffrey},
  year          = {2024},
  eprint        = {2406.04093},
  archivePrefix = {arXiv}
}"""

# Units of tokens held at once where no gradient is kept: 8M in fp32 are 32 MiB, whatever the batch.
MAX_UNITS = 2**23
# Tokens by which the length of new encoder rows is set.
FITTED = 4_096


@register_kind
class SparseUnits(Bottleneck):
    """Passes each activation on as what its few active units say of it, and as nothing else.

    An activation is standardised by a mean vector and one scale, and the largest units that an encoder makes of it stay
    active; unlike codes they keep how large they are. What a decoder makes of them is passed on: there is no error term
    beside it, so what no unit says does not get through. A masked unit is never active; a deleted one has no encoder
    row, bias or decoder row.
    """

    config_class = SparseUnitsConfig
    main_input_name = "hidden_states"
    kind = "sparse_units"
    title = "sparse units"
    limits = (
        "That nothing is left of the topic in units that stay: a topic is said by units that others use as well, and "
        "those are not removed."
    )
    citation = TOPK_AUTOENCODERS
    together = False
    by_degrees = True
    code_tensors: tuple[str, ...] = ("encoder_weight", "encoder_bias", "decoder_weight")
    config: SparseUnitsConfig
    mean: Tensor
    scale: Tensor
    threshold: Tensor

    def __init__(self, config: SparseUnitsConfig):
        super().__init__(config)
        if config.hidden_size is None:
            raise ValueError("`hidden_size` is not set; give SparseUnitsConfig the width of the activations.")
        width, units = config.hidden_size, config.num_codes
        self.encoder_weight = nn.Parameter(torch.empty(units, width))
        self.encoder_bias = nn.Parameter(torch.empty(units))
        self.decoder_weight = nn.Parameter(torch.empty(units, width))
        self.decoder_bias = nn.Parameter(torch.empty(width))
        if config.activation == "jumprelu":
            self.code_tensors = (*type(self).code_tensors, "threshold")
            self.register_buffer("threshold", torch.zeros(units))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("live", torch.ones(units, dtype=torch.bool))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Only functions of transformers' `init`, which skip what a checkpoint has already filled: an in-place write
        # here would clear a loaded mask.
        super()._init_weights(module)
        if module is not self:
            return
        width = self.encoder_weight.shape[1]
        init.normal_(self.decoder_weight, std=width**-0.5)  # of length 1 in the mean
        init.copy_(self.encoder_weight, self.decoder_weight)
        for zeros in (self.encoder_bias, self.decoder_bias, self.mean):
            init.zeros_(zeros)
        if self.config.activation == "jumprelu":
            init.zeros_(self.threshold)
        init.ones_(self.scale)
        init.ones_(self.live)

    @property
    def top_s(self) -> int:
        """Number of units that are active for a token at most, k."""
        return self.config.active

    @property
    def rule(self) -> dict[str, object]:
        """What decides which units are active, beside the weights and their number."""
        return {name: getattr(self.config, name) for name in ("activation", "scale_by_decoder")} | {"kind": self.kind}

    def too_few(self, live: Tensor) -> str | None:
        """Why a mask leaves fewer live units than may be active at once; `None` where it leaves enough."""
        left, active = int(live.sum()), self.config.active
        if left >= active:
            return None
        return f"{left} of {len(live)} units would stay live, fewer than the {active} that a token may have"

    def features(self, arrived: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens hidden_size"]:
        """Standardised activations without the bias, in fp32: what units are made of and sum to."""
        return (arrived.float() - self.mean.float()) / self.scale.float() - self.decoder_bias.float()

    @property
    def vectors(self) -> Float[Tensor, "num_codes hidden_size"]:
        """The decoder rows."""
        return self.decoder_weight

    @torch.no_grad()
    def write(self, codes: Int64[Tensor, "written"], vectors: Float[Tensor, "written hidden_size"]) -> None:
        """Gives units decoder rows, and encoder rows that measure how much of these there is in an activation."""
        self.write_for(codes, vectors, vectors, 0.0)

    @torch.no_grad()
    def write_for(
        self,
        codes: Int64[Tensor, "written"],
        vectors: Float[Tensor, "written hidden_size"],
        features: Float[Tensor, "written hidden_size"],
        least: float,
    ) -> None:
        """The same with encoder rows of features: 1 for each, 0 for what has the share `least` of it, below 1."""
        rows = features.float()
        squares = rows.square().sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        self.decoder_weight[codes] = vectors.to(self.decoder_weight)
        self.encoder_weight[codes] = (rows / squares / (1 - least)).to(self.encoder_weight)
        self.encoder_bias[codes] = -least / (1 - least)
        if self.config.activation == "jumprelu":
            self.threshold[codes] = 0

    @torch.no_grad()
    def widen(self, top_s: int) -> None:
        """Lets another number of units be active for a token."""
        self.config.active = top_s

    @torch.no_grad()
    def explained(
        self, features: Float[Tensor, "tokens hidden_size"], most: int
    ) -> Float[Tensor, "tokens hidden_size"]:
        """What the most active units make of features."""
        return self._active(features, most).decoded(self.decoder_weight) if most else torch.zeros_like(features)

    @torch.no_grad()
    def without_codes(self, arrived: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens hidden_size"]:
        """What all units that are above 0 make of activations, removed ones whose rows are still there among them."""
        values = self._gated(F.linear(self.features(arrived), self.encoder_weight.float(), self.encoder_bias.float()))
        return self._back(values.relu() @ self.decoder_weight.float()).to(arrived.dtype)

    def rank(
        self, arrived: Float[Tensor, "tokens hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "tokens 1 top_s"], Float[Tensor, "tokens 1 top_s"]]:
        """The most active units of tokens, and how active they are; as `Bottleneck.rank`."""
        active = self._active(self.features(arrived), top_s)
        return active.codes[:, None], active.strengths[:, None]

    def ranked(
        self, arrived: Float[Tensor, "tokens hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "tokens top_s"], Int64[Tensor, "tokens"]]:
        """The units nearest to being active, the most active first, and how many are; as `Bottleneck.ranked`."""
        active = self._active(self.features(arrived), top_s)
        return active.places, (active.values > 0).sum(-1)

    def selected(
        self, arrived: Float[Tensor, "batch seq hidden_size"]
    ) -> tuple[Int64[Tensor, "batch selected"], Float[Tensor, "batch selected"]]:
        """The active units of the tokens of each example, and how active they are; -1 for none."""
        active = self._active(self.features(arrived), self.config.active)
        return active.codes.flatten(1), active.strengths.flatten(1)

    @torch.no_grad()
    def start_from_data(self, activations: Float[Tensor, "tokens hidden_size"], generator: torch.Generator) -> None:
        """Mean and scale of activations, and units that are the directions of random tokens.

        Encoder rows start as decoder rows (Gao et al.), all times one number: that by which the sum of the active
        units fits the activations best, as directions of tokens have much in common.

        Args:
            activations: what arrives at the bottleneck.
            generator: of the draw.
        """
        usual = without_outliers(activations)
        self.mean.copy_(usual.mean(0))
        self.scale.copy_((usual - self.mean.float()).square().mean().sqrt().clamp_min(1e-12))
        self.decoder_bias.zero_()
        rows = F.normalize(self.features(drawn_tokens(usual, self.num_codes, generator)), dim=1)
        # Equal units would always be active together.
        self.write(torch.arange(self.num_codes, device=rows.device), F.normalize(told_apart(rows, generator)))
        some = torch.randint(len(usual), (min(FITTED, len(usual)),), generator=generator).to(usual.device)
        features = self.features(usual[some])
        made = self.explained(features, self.config.active)
        fit = (features * made).sum() / made.square().sum().clamp_min(torch.finfo(torch.float32).tiny)
        self.encoder_weight.mul_(fit.clamp(1e-3, 1.0))

    def forward(
        self,
        hidden_states: Float[Tensor, "batch seq hidden_size"],
        attention_mask: Bool[Tensor, "batch seq"] | Int64[Tensor, "batch seq"] | None = None,
    ) -> BottleneckOutput:
        """Replaces activations by what their active units say of them.

        Args:
            hidden_states: activations, `(batch, seq, hidden_size)`.
            attention_mask: 0 or False at padding, which then counts in no loss and has code -1.
        """
        features = self.features(hidden_states)
        inputs = self._inputs(features) if torch.is_grad_enabled() else None
        active = self._active(features, self.config.active, inputs)
        decoded = active.decoded(self.decoder_weight)
        target = features.detach() if self.config.detach_target else features
        error = (target - decoded).square().mean(-1)  # in units of the variance
        real, codes, l1 = None, active.codes, active.strengths.sum(-1)
        if attention_mask is not None:
            real = attention_mask.to(error.device).bool().expand(error.shape)
            codes = codes.masked_fill(~real[..., None], -1)
        if self.config.auxiliary_weight and inputs is not None:
            left = self._left(inputs, codes, (features - decoded).detach())
            error = error + self.config.auxiliary_weight * (left - left.detach())
        passed = self._back(decoded).to(hidden_states.dtype)
        return BottleneckOutput.of_tokens(self.config.penalty, real, error, l1, reconstruction=passed, codes=codes)

    def _inputs(self, features: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens num_codes"]:
        """What each unit gets of features, in fp32 whatever the weights' dtype; -inf for units that are removed."""
        bias = self.encoder_bias.float().masked_fill(~self.in_force, float("-inf"))
        with maybe_autocast(features.device.type, enabled=False):
            return self._gated(F.linear(features, self.encoder_weight.float(), bias))

    def _gated(self, inputs: Float[Tensor, "*tokens num_codes"]) -> Float[Tensor, "*tokens num_codes"]:
        """The same, 0 for units that are not above their threshold."""
        if self.config.activation == "topk":
            return inputs
        return inputs.where(inputs > self.threshold.float(), inputs.clamp_max(0))

    def _active(
        self, features: Float[Tensor, "*tokens hidden_size"], most: int, inputs: Tensor | None = None
    ) -> Active:
        """The most active units of tokens, in chunks where nothing is compiled and no gradient is kept."""
        lengths = self._lengths()
        if inputs is not None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return largest(self._inputs(features) if inputs is None else inputs, most, lengths)
        flat = features.flatten(0, -2)
        chunks = flat.split(max(1, MAX_UNITS // self.num_codes))
        found = [largest(self._inputs(chunk), most, lengths) for chunk in chunks]
        shape = features.shape[:-1]
        return Active(*(torch.cat(parts).unflatten(0, shape) for parts in zip(*found, strict=True)))

    def _lengths(self) -> Float[Tensor, "num_codes"] | None:
        """By what a unit's input is multiplied, that it is compared with others by."""
        if not self.config.scale_by_decoder:
            return None
        lengths = torch.linalg.vector_norm(self.decoder_weight.float(), dim=1)
        return lengths.clamp_min(torch.finfo(torch.float32).tiny)

    def _back(self, decoded: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens hidden_size"]:
        """Activations as they arrived, of standardised ones without the bias."""
        return (decoded + self.decoder_bias.float()) * self.scale.float() + self.mean.float()

    def _left(self, inputs: Tensor, codes: Tensor, error: Tensor) -> Float[Tensor, "*tokens"]:
        """The error that stays when units that no token activates add to the sum, `auxiliary_units` of them each."""
        used = torch.zeros(self.num_codes + 1, dtype=torch.bool, device=codes.device)
        used[codes.flatten()] = True  # the last one for none
        unused = inputs.masked_fill(used[:-1], float("-inf"))
        added = largest(unused, min(self.config.auxiliary_units, self.num_codes), self._lengths())
        return (error - added.decoded(self.decoder_weight)).square().mean(-1)


__all__ = ["SparseUnits"]
