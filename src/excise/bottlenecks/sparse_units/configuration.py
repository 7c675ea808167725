"""Settings of sparse units."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# Settings that must be a whole number of at least 1, and weights that must be finite and at least 0.
SIZES = ("hidden_size", "num_codes", "active", "auxiliary_units")
WEIGHTS = ("l1_weight", "reconstruction_weight", "auxiliary_weight")


@strict
class SparseUnitsConfig(PreTrainedConfig):
    r"""Settings of [`SparseUnits`], after the TopK autoencoders of Gao et al. (2024).

    Args:
        hidden_size (`int`, *optional*): Width of the activations. Filled in by the model that holds the bottleneck.
        num_codes (`int`, defaults to 16384): Number of units. Each is a code.
        active (`int`, defaults to 32): Units that are active for a token at most, k: the largest ones above 0.
        activation (`"topk"` or `"jumprelu"`, defaults to `"topk"`): What may be active: all above 0, or those above a
            threshold that each unit has. Thresholds come with a checkpoint that is read, and are not trained.
        scale_by_decoder (`bool`, defaults to `True`): How active a unit is counts the length of its decoder row, so
            that neither selection nor L1 norm depends on it (sae-lens's `rescale_acts_by_decoder_norm`).
        l1_weight (`float`, defaults to 0.0): Weight of the sum of a token's activations in the loss.
        reconstruction_weight (`float`, defaults to 1.0): Weight of the reconstruction loss in the joint loss.
        auxiliary_weight (`float`, defaults to 0.0): Weight, beside the reconstruction loss, of what units that no token
            of a batch activates make of the error that the others leave (Gao et al.'s AuxK, who take 1/32). It has a
            gradient alone and is in no reported loss.
        auxiliary_units (`int`, defaults to 64): How many of these are used for a token.
        detach_target (`bool`, defaults to `False`): Keep the reconstruction loss's gradient from the layers before
            the bottleneck through its *target*.
        codes_id (`str`, *optional*): Tells the units from those of other models. Written by `initialize_codes`, not by
            hand.
    """

    model_type = "sparse_units"

    hidden_size: int | None = None
    num_codes: int = 16_384
    active: int = 32
    activation: Literal["topk", "jumprelu"] = "topk"
    scale_by_decoder: bool = True
    l1_weight: float | int = 0.0
    reconstruction_weight: float | int = 1.0
    auxiliary_weight: float | int = 0.0
    auxiliary_units: int = 64
    detach_target: bool = False
    codes_id: str | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.validate_sizes()  # here too: what `strict` raises is no ValueError

    def validate_sizes(self):
        """Refuse sizes and weights that cannot work."""
        for name in SIZES:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}; it must be at least 1.")
        if self.active > self.num_codes:
            raise ValueError(f"`active` is {self.active}, more than the {self.num_codes} units of `num_codes`.")
        for name in WEIGHTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be a finite number, at least 0.")

    def resize(self, num_codes: int) -> None:
        """Another number of units, in a bottleneck that deleted ones were taken out of."""
        self.num_codes = num_codes

    def penalty(self, reconstruction, l1):
        """The bottleneck's loss: its parts, of tokens or of a batch, weighted."""
        return self.reconstruction_weight * reconstruction + self.l1_weight * l1


__all__ = ["SparseUnitsConfig"]
