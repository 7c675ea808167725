"""Random directions of whitened principal components: what heads can be projections of."""

import torch
from datasets import Dataset
from torch import Tensor

from excise.bottlenecks import KeyValueBottleneck
from excise.models.key_value.encodings import ENCODINGS


def whitening(vectors: Dataset, components: int) -> Tensor:
    """What takes encodings to their largest principal components, each of variance 1, `(hidden_size, components)`."""
    count, total, products = 0, 0.0, 0.0
    for part in vectors.iter(1_024):
        rows = part[ENCODINGS].double()
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    mean = total / count
    variances, axes = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    largest = variances[-components:].clamp_min(1e-12 * variances[-1].clamp_min(1e-30))
    return (axes[:, -components:] / largest.sqrt()).float()


def directions(components: int, bottleneck: KeyValueBottleneck, seed: int) -> Tensor:
    """Random directions, `(components, num_codebooks * key_dim)`, the same for the same seed."""
    width = bottleneck.config.num_codebooks * bottleneck.config.key_dim
    drawn = torch.randn(components, width, generator=torch.Generator().manual_seed(seed))
    return (drawn * components**-0.5).to(bottleneck.keys.device)
