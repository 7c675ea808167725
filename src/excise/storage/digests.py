"""SHA-256 digests of settings, tensors and files."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.utils.sha import sha_fileobj


def digest(settings: Any, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of settings, as JSON values, and tensors."""
    sha = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return sha_fileobj(stream).hex()
