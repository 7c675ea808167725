"""Training a model with bottlenecks: codes from data first, then any `Trainer`."""

from excise.training.callback import BottleneckCallback
from excise.training.initialize import initialize_codes

__all__ = ["BottleneckCallback", "initialize_codes"]
