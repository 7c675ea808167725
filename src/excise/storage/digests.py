"""SHA-256 digests of settings, tensors and files, and keyed ones of private data."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Words in a row of those that are added up: a prime, so that rows of tensors do not fall on one another.
ROW = 4_093


def digest(settings: Any, tensors: "Mapping[str, torch.Tensor]") -> str:
    """SHA-256 of settings, as JSON values, and tensors."""
    import torch

    sha = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def sums(tensors: "Mapping[str, torch.Tensor]") -> str:
    """SHA-256 of sums of tensors' bits, each on the device where it is: cheap, and the same wherever it is.

    A tensor's words of 64 bits are laid out in rows of 4,093, and each row and each column is added up, so that what is
    moved or swapped within a tensor is seen. A change is not seen where it keeps all these sums, which takes at least
    four words that were made to: for telling copies of a model from trained ones, not for proof.
    """
    about, found = {}, {}
    for name, tensor in tensors.items():
        about[name] = [str(tensor.dtype), list(tensor.shape)]
        if not tensor.is_meta and tensor.numel():
            found[name] = _sums_of_words(tensor.detach())
    return digest(about, found)


def _sums_of_words(tensor: "torch.Tensor") -> "torch.Tensor":
    """Sums over rows and over columns of a tensor's words, and what makes no whole row or word as it is."""
    import torch

    data = tensor.contiguous().flatten().view(torch.uint8)
    if data.data_ptr() % 8 or data.storage_offset() % 8:
        data = data.clone()
    words = data[: len(data) // 8 * 8].view(torch.int64)
    block = words[: len(words) // ROW * ROW].view(-1, ROW)
    return torch.cat([block.sum(1), block.sum(0), words[block.numel() :], data[8 * len(words) :].to(torch.int64)])


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    from huggingface_hub.utils.sha import sha_fileobj

    with open(path, "rb") as stream:
        return sha_fileobj(stream).hex()


class DigestKey:
    """Key of keyed digests (HMAC-SHA256), which nobody can guess short texts by who has not the key.

    A digest of a set of sentences is public with a request's other numbers. Where the sentences are private, it is
    keyed: the owner of the key can show later that a data set is the one, and nobody else can try sentences out.

    Args:
        secret: at least 16 bytes. `DigestKey.new()` draws 32.

    Example:
        >>> DigestKey(bytes(32))
        DigestKey 36a22b7ed3833956
    """

    def __init__(self, secret: bytes):
        if not isinstance(secret, bytes) or len(secret) < 16:
            raise ValueError("A key of digests is at least 16 bytes. `DigestKey.new()` draws one.")
        self._secret = secret

    def __repr__(self) -> str:
        return f"DigestKey {self.id}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DigestKey) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def new(cls) -> "DigestKey":
        """A key drawn at random."""
        return cls(secrets.token_bytes(32))

    @property
    def id(self) -> str:
        """The name of the key, which tells nothing of it."""
        return self._of("the id of this key")[:16]

    def keyed(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Digests by name, keyed, and under `"key"` the name of the key."""
        return {"key": self.id} | {name: self._of(f"{name} {digest}") for name, digest in digests.items()}

    def save(self, path: str | os.PathLike) -> None:
        """Writes the key to a new file that only its owner can read.

        Raises:
            FileExistsError: if the file is there.
        """
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            stream.write(self._secret.hex() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "DigestKey":
        """What `save` wrote.

        Raises:
            ValueError: if the file holds no key.
        """
        try:
            with open(path, encoding="ascii") as stream:
                return cls(bytes.fromhex(stream.read().strip()))
        except ValueError:  # without what the file holds: that may be a key
            raise ValueError(f"{os.fspath(path)!r} holds no key of digests, as `DigestKey.save` writes it.") from None

    def _of(self, text: str) -> str:
        return hmac.new(self._secret, f"excise: {text}".encode(), hashlib.sha256).hexdigest()
