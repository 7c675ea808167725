"""Presets of a key-value classifier's training: the paper's of table 4, by data set, and one of ours."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from excise.bottlenecks.key_value.configuration import KeyValueConfig


@dataclass(frozen=True)
class KeyValuePreset:
    """All that a key-value classifier is trained with. Its batches are of 256, and its optimizer is Adam.

    Attributes:
        num_codebooks: as in `KeyValueConfig`, as the next four.
        num_pairs: pairs of each codebook.
        key_dim: width of keys and heads.
        top_k: pairs selected in each codebook.
        value_init: what values start as.
        key_epochs: passes over the encodings to initialise the keys.
        components: whitened principal components that heads are projections of; `None` for the encodings as they are.
        learning_rate: of Adam.
        num_train_epochs: passes over the pairs.
        lr_scheduler_type: how the learning rate changes, as transformers calls it.
    """

    num_codebooks: int = 256
    num_pairs: int = 4096
    key_dim: int = 8
    top_k: int = 1
    value_init: Literal["normal", "zeros", "uniform"] = "normal"
    key_epochs: int = 10
    components: int | None = None
    learning_rate: float = 0.1
    num_train_epochs: int = 74
    lr_scheduler_type: str = "constant"

    def config(self, **changes: Any) -> KeyValueConfig:
        """The settings of the bottleneck, of which some may be changed."""
        names = ("num_codebooks", "num_pairs", "key_dim", "top_k", "value_init")
        return KeyValueConfig(**{name: getattr(self, name) for name in names} | changes)

    def words(self) -> list[str]:
        """The preset as words of a command line, `--name=value`: put before what is given, that stands."""
        return [f"--{name}={value}" for name, value in asdict(self).items() if value is not None]


# Table 4, by data set, and ours.
KEY_VALUE_PRESETS: dict[str, KeyValuePreset] = {
    "paper": KeyValuePreset(),
    "paper-cifar100": KeyValuePreset(top_k=10, value_init="zeros", learning_rate=0.3, num_train_epochs=71),
    "paper-lacuna100": KeyValuePreset(top_k=10, value_init="uniform", learning_rate=0.3, num_train_epochs=7),
    # Chosen on held-out training images (docs/method/key_value.md): heads of whitened components, ten pairs a codebook,
    # and a large learning rate that falls to 0.
    "whitened": KeyValuePreset(
        key_dim=16,
        top_k=10,
        value_init="zeros",
        key_epochs=1,
        components=128,
        learning_rate=0.3,
        num_train_epochs=10,
        lr_scheduler_type="cosine",
    ),
}
