"""Settings of a discrete key-value bottleneck."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class KeyValueConfig(PreTrainedConfig):
    r"""Settings of a [`KeyValueBottleneck`]. The defaults are the paper's for CIFAR-10 (section 5.1 and table 4).

    Args:
        hidden_size (`int`, *optional*): Width of the encodings. Filled in by the model that holds the bottleneck.
        num_codebooks (`int`, defaults to 256): Number of codebooks C, each with a head of its own.
        num_pairs (`int`, defaults to 4096): Number of key-value pairs M of each codebook.
        key_dim (`int`, defaults to 8): Width of keys and heads.
        value_dim (`int`, *optional*): Width of values. Filled in by the model: its number of classes.
        top_k (`int`, defaults to 1): Pairs selected in each codebook.
        projection (`"random"` or `"chunk"`, defaults to `"random"`): Heads are fixed random projections of the
            encoding, or chunks of it as it is; then `num_codebooks * key_dim` must be `hidden_size`.
        value_init (`"normal"`, `"zeros"` or `"uniform"`, defaults to `"normal"`): What values start as: standard
            normal, zero, or uniform from 0 to 1; table 4's for CIFAR-10, CIFAR-100 and LACUNA-100, in this order.
        keys_id (`str`, *optional*): SHA-256 of keys and projection. Written by `initialize_keys`, not by hand.
        codes_id (`str`, *optional*): Tells the pairs from those of other models, of the same keys too. Written by
            `initialize_keys`, not by hand.
    """

    model_type = "key_value_bottleneck"

    hidden_size: int | None = None
    num_codebooks: int = 256
    num_pairs: int = 4096
    key_dim: int = 8
    value_dim: int | None = None
    top_k: int = 1
    projection: Literal["random", "chunk"] = "random"
    value_init: Literal["normal", "zeros", "uniform"] = "normal"
    keys_id: str | None = None
    codes_id: str | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.validate_sizes()  # here too: what `strict` raises is no ValueError

    def validate_sizes(self):
        """Refuse sizes that cannot work."""
        for name in ("hidden_size", "num_codebooks", "num_pairs", "key_dim", "value_dim", "top_k"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}; it must be at least 1.")
        if self.top_k > self.num_pairs:
            raise ValueError(f"`top_k` is {self.top_k}, more than the {self.num_pairs} pairs of `num_pairs`.")
        heads = self.num_codebooks * self.key_dim
        if self.projection == "chunk" and self.hidden_size not in (None, heads):
            raise ValueError(
                f"Chunks of {self.key_dim} for {self.num_codebooks} codebooks take {heads} numbers, but `hidden_size` "
                f"is {self.hidden_size}. Choose sizes whose product it is, or projection='random'."
            )

    def resize(self, num_pairs: int) -> None:
        """Another number of pairs, in a bottleneck that deleted ones were taken out of; they have new numbers then."""
        self.num_pairs = num_pairs
        self.keys_id = ""  # they were put where data is, and are others than then


__all__ = ["KeyValueConfig"]
