"""The discrete key-value bottleneck: Unlearning via Sparse Representations, section 3, after Traeuble et al. (2023)."""

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import maybe_autocast

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.key_value.configuration import KeyValueConfig
from excise.bottlenecks.key_value.lookup import nearest_keys
from excise.bottlenecks.key_value.sparse_reading import read_sparsely
from excise.bottlenecks.registry import register_kind
from excise.storage.digests import digest

logger = logging.getLogger(__name__)
SPARSE_REPRESENTATIONS = """\
@misc{shah2023unlearning,
  title         = {Unlearning via Sparse Representations},
  author        = {Shah, Vedant and Tr{\\"a}uble, Frederik and Malik, Ashish and Larochelle, Hugo and Mozer, Michael and
                   Arora, Sanjeev and Bengio, Yoshua and Goyal, Anirudh},
  year          = {2023},
  eprint        = {2311.15268},
  archivePrefix = {arXiv}
}"""


@dataclass
class KeyValueOutput(ModelOutput):
    """What a key-value bottleneck passes on.

    Args:
        values (`torch.FloatTensor` of shape `(batch, value_dim)`): Mean of the selected values.
        pairs (`torch.LongTensor` of shape `(batch, num_codebooks * top_k)`): Selected pairs, numbered over all
            codebooks: pair m of codebook c is `c * num_pairs + m`.
    """

    values: Tensor | None = None  # type: ignore[assignment]  # nobody asks an output for its values as a dict
    pairs: Tensor | None = None


@register_kind
class KeyValueBottleneck(Bottleneck):
    """Passes an encoding on as the mean of the values whose keys are nearest to its heads, and as nothing else.

    Projection and keys are buffers: no gradient reaches them. The keys are put where data is by `initialize_keys`.
    A *code* of this bottleneck is a pair, and deleting it erases key and value.

    Attributes:
        sparse_gradients: whether the gradient of the values has the rows that were read and no others, which takes an
            optimizer for it, as `excise.training.sparse_optimizer` makes it. For tables of gigabytes.
    """

    config_class = KeyValueConfig
    main_input_name = "encodings"
    kind = "key_value"
    title = "key-value pairs"
    limits = (
        "That the encoder has forgotten: it is frozen and still tells the topic's images from others. Values trained "
        "on them again would learn it again."
    )
    citation = SPARSE_REPRESENTATIONS
    needed = "A key-value model has no logits without its pairs, whose values they are the mean of."
    code_tensors = ("keys", "values")
    selecting_tensors = ("keys",)
    config: KeyValueConfig
    projection: Tensor
    keys: Tensor
    sparse_gradients = False
    _told = False

    def __init__(self, config: KeyValueConfig):
        super().__init__(config)
        if config.hidden_size is None or config.value_dim is None:
            name = "hidden_size" if config.hidden_size is None else "value_dim"
            raise ValueError(f"`{name}` is not set; give KeyValueConfig the width of the encodings and the values.")
        codebooks = config.num_codebooks, config.num_pairs
        if config.projection == "random":
            self.register_buffer("projection", torch.empty(config.hidden_size, codebooks[0] * config.key_dim))
        self.register_buffer("keys", torch.empty(*codebooks, config.key_dim))
        self.values = nn.Parameter(torch.empty(*codebooks, config.value_dim))
        self.register_buffer("live", torch.ones(codebooks[0] * codebooks[1], dtype=torch.bool))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Only functions of transformers' `init`, which skip what a checkpoint has already filled: an in-place write
        # here would clear a loaded mask.
        if module is not self:
            return
        if self.config.projection == "random":
            init.normal_(self.projection, std=len(self.projection) ** -0.5)  # a head is as large as the encoding
        init.normal_(self.keys)
        if self.config.value_init == "normal":
            init.normal_(self.values)
        elif self.config.value_init == "uniform":
            init.uniform_(self.values)
        else:
            init.zeros_(self.values)
        init.ones_(self.live)

    @property
    def keys_id(self) -> str:
        """Tells all that decides which pairs an encoding selects, but for masks, from what other models have."""
        return f"{self.config.keys_id or self.digest_keys()}, top {self.config.top_k}"

    def digest_keys(self) -> str:
        """SHA-256 of keys and projection."""
        tensors = {name: tensor for name, tensor in self.named_buffers() if name != "live"}
        return digest(self.config.projection, tensors)

    @property
    def num_groups(self) -> int:
        """Number of codebooks."""
        return self.config.num_codebooks

    @property
    def top_s(self) -> int:
        """Number of pairs selected in each codebook, k."""
        return self.config.top_k

    def too_few(self, live: Tensor) -> str | None:
        """Why a mask leaves a codebook fewer live pairs than it selects; `None` where it leaves enough."""
        left = live.view(self.config.num_codebooks, -1).sum(1)
        short = int((left < self.config.top_k).sum())
        if not short:
            return None
        return (
            f"codebook {int(left.argmin())} would keep {int(left.min())} live pairs, fewer than the "
            f"{self.config.top_k} that it selects ({short} of {len(left)} codebooks would have too few)"
        )

    def heads(self, encodings: Float[Tensor, "batch hidden_size"]) -> Float[Tensor, "batch num_codebooks key_dim"]:
        """What the keys of each codebook are compared with, in fp32."""
        with maybe_autocast(encodings.device.type, enabled=False):
            heads = encodings.float()
            if self.config.projection == "random":
                heads = heads @ self.projection.float()
        return heads.unflatten(1, (self.config.num_codebooks, self.config.key_dim))

    def select(self, encodings: Float[Tensor, "batch hidden_size"]) -> Int64[Tensor, "batch selected"]:
        """The pairs that encodings select, nearest first within each codebook."""
        return self.select_by_heads(self.heads(encodings))

    def select_by_heads(self, heads: Float[Tensor, "batch num_codebooks key_dim"]) -> Int64[Tensor, "batch selected"]:
        """The pairs that heads select; as `select`."""
        return self._nearest(heads, self.config.top_k)[0].flatten(1)

    def rank(
        self, arrived: Float[Tensor, "batch hidden_size"], top_s: int
    ) -> tuple[Int64[Tensor, "batch num_codebooks top_s"], Float[Tensor, "batch num_codebooks top_s"]]:
        """The pairs whose keys are nearest to encodings, and minus their distances; as `Bottleneck.rank`."""
        return self._nearest(self.heads(arrived), top_s)

    def selected(
        self, arrived: Float[Tensor, "batch hidden_size"]
    ) -> tuple[Int64[Tensor, "batch selected"], Float[Tensor, "batch selected"]]:
        """The pairs that encodings select, and minus the distances of their keys."""
        pairs, similarity = self.rank(arrived, self.config.top_k)
        return pairs.flatten(1), similarity.flatten(1)

    def _nearest(
        self, heads: Float[Tensor, "batch num_codebooks key_dim"], top_k: int
    ) -> tuple[Int64[Tensor, "batch num_codebooks top_k"], Float[Tensor, "batch num_codebooks top_k"]]:
        if self.config.keys_id is None and not self._told and not torch.compiler.is_compiling():
            self._told = True
            logger.warning(
                "The keys are random: `initialize_keys(model, encodings)` was not called, which puts them where the "
                "data is. Of such pairs few are selected, by images of all classes. Call it before the training."
            )
        live = self.in_force.view(self.config.num_codebooks, -1)
        nearest = nearest_keys(heads, self.keys, top_k, live)
        first = torch.arange(self.config.num_codebooks, device=heads.device) * self.config.num_pairs
        return nearest.keys + first[:, None], -nearest.distances.sqrt()

    def select_again(
        self, heads: Float[Tensor, "batch num_codebooks key_dim"], pairs: Int64[Tensor, "batch selected"]
    ) -> Int64[Tensor, "batch selected"]:
        """The pairs that heads select, given those that they selected when fewer pairs were removed.

        What was nearest and still lives is nearest still: only where a pair is gone, keys are looked up again.
        """
        width, top_k = self.config.num_pairs, self.config.top_k
        pairs = pairs.clone().unflatten(1, (-1, top_k))
        gone = ~self.in_force[pairs].all(-1)
        live = self.in_force.view(-1, width)
        for codebook in gone.any(0).nonzero().flatten().tolist():
            rows, one = gone[:, codebook], slice(codebook, codebook + 1)
            nearest = nearest_keys(heads[rows, one], self.keys[one], top_k, live[one]).keys
            pairs[rows, codebook] = nearest[:, 0] + codebook * width
        return pairs.flatten(1)

    def read(self, pairs: Int64[Tensor, "batch selected"]) -> Float[Tensor, "batch value_dim"]:
        """The mean of the values of selected pairs; its gradient reaches those values only."""
        if self.sparse_gradients and torch.is_grad_enabled():
            return read_sparsely(self.values, pairs)
        return F.embedding_bag(pairs, self.by_code(self.values), mode="mean")

    def forward(self, encodings: Float[Tensor, "batch hidden_size"]) -> KeyValueOutput:
        """Replaces encodings by what the values of their nearest keys say of them."""
        pairs = self.select(encodings)
        return KeyValueOutput(values=self.read(pairs), pairs=pairs)


__all__ = ["KeyValueBottleneck", "KeyValueOutput"]
