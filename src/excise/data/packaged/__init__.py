"""The sentence pairs that excise carries for its demo, and the tokenizer made from them."""

from excise.data.packaged.demo import load_demo
from excise.data.packaged.tokenizer import train_tokenizer

__all__ = ["load_demo", "train_tokenizer"]
