"""Rows of a codebook, written and read as such: how codes are revived, and made again by who attacks."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from excise.bottlenecks.base import Bottleneck


class WrittenCodebook(Bottleneck):
    """The part of a codebook with encoder and decoder that deals with its rows as vectors."""

    code_tensors = ("codebook",)
    codebook: nn.Parameter
    decoder: nn.Linear
    config: Any
    mean: Tensor
    scale: Tensor

    def encode(self, hidden_states: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens code_dim"]:
        """What the codes are compared with."""
        raise NotImplementedError

    def features(self, arrived: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens code_dim"]:
        """What the codes are compared with, as `encode`."""
        return self.encode(arrived)

    @property
    def vectors(self) -> Float[Tensor, "num_codes code_dim"]:
        """The codebook."""
        return self.codebook

    @property
    def copies(self) -> int:
        """S, as the sum of S codes stands for a feature."""
        return self.config.top_s

    @torch.no_grad()
    def write(self, codes: Int64[Tensor, "written"], vectors: Float[Tensor, "written code_dim"]) -> None:
        """Writes rows of the codebook."""
        self.codebook[codes] = vectors.to(self.codebook)

    @torch.no_grad()
    def widen(self, top_s: int) -> None:
        """Another S; codes become smaller or larger, so that their sum keeps its size."""
        self.codebook.mul_(self.config.top_s / top_s)
        self.config.top_s = top_s

    @torch.no_grad()
    def without_codes(self, arrived: Float[Tensor, "*tokens hidden_size"]) -> Float[Tensor, "*tokens hidden_size"]:
        """What the decoder makes of what the encoder puts out."""
        decoded = self.decoder(self.encode(arrived)).float() * self.scale.float() + self.mean.float()
        return decoded.to(arrived.dtype)
