"""Discrete bottlenecks: modules that pass all their input's information on as a few codes."""

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.codebook_sae import CodebookSAE, CodebookSAEOutput
from excise.bottlenecks.configuration import CodebookSAEConfig, KeyValueConfig
from excise.bottlenecks.key_value import KeyValueBottleneck, KeyValueOutput

__all__ = [
    "Bottleneck",
    "CodebookSAE",
    "CodebookSAEConfig",
    "CodebookSAEOutput",
    "KeyValueBottleneck",
    "KeyValueConfig",
    "KeyValueOutput",
]
