"""What codes stand for: the tokens, texts and images that select them."""

from excise.meanings.contexts import code_tokens
from excise.meanings.images import code_images, image_meanings
from excise.meanings.tokens import token_meanings

__all__ = ["code_images", "code_tokens", "image_meanings", "token_meanings"]
