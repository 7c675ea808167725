"""Active units: the largest of many, and the sum of their rows."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from transformers.utils.generic import maybe_autocast

# Tokens further from the mean than so many median distances are left out of mean and scale, as a language model's first
# token has to be, which may be a hundred deviations away.
OUTLIER = 10.0


class Active(NamedTuple):
    """The most active units of tokens, most active first.

    Args:
        places: int64 `(*tokens, most)`, which units they are.
        values: what their decoder rows are multiplied by, at least 0; 0 for one that is not active.
        strengths: how active they are, by which they are in order.
    """

    places: Tensor
    values: Tensor
    strengths: Tensor

    @property
    def codes(self) -> Int64[Tensor, "*tokens most"]:
        """The units, -1 for those that are not active."""
        return self.places.masked_fill(self.values <= 0, -1)

    def decoded(self, rows: Float[Tensor, "num_codes dim"]) -> Float[Tensor, "*tokens dim"]:
        """The sum of the active units' rows, each times its value, in fp32; only these rows are read."""
        weights = self.values.flatten(0, -2)
        with maybe_autocast(weights.device.type, enabled=False):
            sums = F.embedding_bag(self.places.flatten(0, -2), rows.float(), mode="sum", per_sample_weights=weights)
        return sums.unflatten(0, self.places.shape[:-1])


def largest(
    inputs: Float[Tensor, "*tokens num_codes"], most: int, lengths: Float[Tensor, "num_codes"] | None = None
) -> Active:
    """The units with the largest inputs; what is not above 0, or not finite, is not active.

    Args:
        inputs: of each unit, -inf for one that is removed.
        most: how many.
        lengths: by which inputs are multiplied before they are compared; all 1 if not given.

    Example:
        >>> active = largest(torch.tensor([[0.5, 3.0, -1.0]]), 2, torch.tensor([8.0, 1.0, 1.0]))
        >>> active.places.tolist(), active.values.tolist(), active.strengths.tolist()
        ([[0, 1]], [[0.5, 3.0]], [[4.0, 3.0]])
    """
    with torch.no_grad():
        places = (inputs if lengths is None else inputs * lengths).topk(most).indices
    values = inputs.gather(-1, places)
    values = values.where((values > 0) & values.isfinite(), 0)
    return Active(places, values, values if lengths is None else values * lengths[places])


def without_outliers(activations: Float[Tensor, "tokens dim"]) -> Float[Tensor, "usual dim"]:
    """Activations without those that are far from all others."""
    distances = torch.linalg.vector_norm(activations - activations.mean(0), dim=1)
    return activations[distances <= OUTLIER * distances.median()]
