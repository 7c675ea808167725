"""Settings of a codebook with a sparse autoencoder."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class CodebookSAEConfig(PreTrainedConfig):
    r"""Settings of a [`CodebookSAE`].

    The defaults are what forgets best and costs least (docs/method/experiments.md); `paper` has CodeUnlearn's own.

    Args:
        hidden_size (`int`, *optional*): Width of the activations. Filled in by the model that holds the bottleneck.
        num_codes (`int`, defaults to 25000): Number of codes K.
        code_dim (`int`, *optional*): Width F of the sparse autoencoder and of the codes; four times `hidden_size` if
            not given.
        active (`int`, *optional*, defaults to 32): Units of the sparse autoencoder that stay active for a token, the
            largest ones; `None` for all that are above 0.
        top_s (`int`, defaults to 8): Number of codes S that are summed for each token.
        l1_weight (`float`, defaults to 1e-6): Weight lambda of the selected codes' L1 norm (eq. 7).
        reconstruction_weight (`float`, defaults to 1.0): Weight of the reconstruction loss in the joint loss.
        standardize (`bool`, defaults to `True`): Standardise activations by a measured mean and scale, and express
            the reconstruction loss as a fraction of variance unexplained. `False` is the paper's raw squared error
            (eq. 6), which drowns the task loss where the residual stream is large.
        detach_target (`bool`, defaults to `False`): Keep the reconstruction loss's gradient from the layers before
            the bottleneck through its *target*. The paper trains them "to conform to the codebook", so the default
            leaves the gradient in.
        layer_norm_eps (`float`, defaults to 1e-5): Epsilon of the layer norm after the encoder.
        codes_id (`str`, *optional*): Tells the codes from those of other models. Written by `initialize_codes`, not by
            hand.
    """

    model_type = "codebook_sae"

    hidden_size: int | None = None
    num_codes: int = 25_000
    code_dim: int | None = None
    active: int | None = 32
    top_s: int = 8
    l1_weight: float | int = 1e-6
    reconstruction_weight: float | int = 1.0
    standardize: bool = True
    detach_target: bool = False
    layer_norm_eps: float = 1e-5
    codes_id: str | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.validate_sizes()  # here too: what `strict` raises is no ValueError

    @classmethod
    def paper(cls, hidden_size: int, **settings: Any) -> "CodebookSAEConfig":
        """CodeUnlearn's settings (section 4.1, eq. 6 and appendix A) for activations of a width; others on top.

        One departure stays: an example's reconstruction and L1 losses weigh as much as its labels do in the task loss
        (`joint_loss`), where eq. 6 is a mean over activations.
        """
        paper = {"hidden_size": hidden_size, "code_dim": hidden_size, "active": None, "standardize": False}
        return cls(**paper | settings)

    def validate_sizes(self):
        """Refuse sizes and weights that cannot work."""
        for name in ("hidden_size", "num_codes", "code_dim", "active", "top_s"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}; it must be at least 1.")
        if self.top_s > self.num_codes:
            raise ValueError(f"`top_s` is {self.top_s}, more than the {self.num_codes} codes of `num_codes`.")
        for name in ("l1_weight", "reconstruction_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be a finite number, at least 0.")

    def resize(self, num_codes: int) -> None:
        """Another number of codes, in a bottleneck that deleted ones were taken out of."""
        self.num_codes = num_codes

    def penalty(self, reconstruction, l1):
        """The codebook loss of eq. 7: its parts, of tokens or of a batch, weighted."""
        return self.reconstruction_weight * reconstruction + self.l1_weight * l1


__all__ = ["CodebookSAEConfig"]
