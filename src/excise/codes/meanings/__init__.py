"""Meanings of codes: the tokens, texts and images that select them."""

from excise.codes.meanings.images import code_images, image_meanings
from excise.codes.meanings.tokens import code_tokens, token_meanings

__all__ = ["code_images", "code_tokens", "image_meanings", "token_meanings"]
