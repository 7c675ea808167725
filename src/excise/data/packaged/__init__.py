"""Packaged sentence pairs for the demo, and the tokenizer made from them."""

from excise.data.packaged.tokenizer import train_tokenizer
from excise.data.reading import load_demo

__all__ = ["load_demo", "train_tokenizer"]
