"""Training a model with bottlenecks: codes from data first, then any `Trainer`."""

from excise.training.callback import BottleneckCallback
from excise.training.initialize import initialize_codes
from excise.training.keys import initialize_keys
from excise.training.pair_counting import PairCountCallback
from excise.training.similarity import set_min_similarity

__all__ = ["BottleneckCallback", "PairCountCallback", "initialize_codes", "initialize_keys", "set_min_similarity"]
