"""The whole way in two minutes on real text: train from nothing, forget a topic, show it, save, reload, undo."""

from excise.demo.checks import Bounds
from excise.demo.running import DemoResult, run_demo
from excise.demo.training import Recipe

__all__ = ["Bounds", "DemoResult", "Recipe", "run_demo"]
