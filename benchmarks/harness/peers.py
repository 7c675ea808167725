"""Other libraries that excise is measured beside: which are installed, and what is missing."""

import importlib
from types import ModuleType

from harness.machine import installed_version

# The module that has what is measured, by the name of the package.
MODULES = {
    "codebook-features": "codebook_features.models",
    "discrete-key-value-bottleneck-pytorch": "discrete_key_value_bottleneck_pytorch",
    "eai-sparsify": "sparsify",
    "sae-lens": "sae_lens",
    "vector-quantize-pytorch": "vector_quantize_pytorch",
}


class MissingPeerError(Exception):
    """A peer that is not installed or does not import."""


def load_peer(package: str) -> tuple[ModuleType, str]:
    """A peer's module, and its name with its version.

    Raises:
        MissingPeerError: if it is not installed or does not import, with the reason.
    """
    installed = installed_version(package)
    if installed is None:
        raise MissingPeerError(f"{package} is not installed; `make bench` makes an environment with it.")
    name = f"{package} {installed}"
    try:
        return importlib.import_module(MODULES[package]), name
    except Exception as error:  # whatever a package of others raises, the benchmark goes on without it
        raise MissingPeerError(f"{name} does not import: {type(error).__name__}: {error}") from error


def peer_versions() -> dict[str, str]:
    """The versions of the peers that are installed; `not installed` for the others."""
    return {package: installed_version(package) or "not installed" for package in MODULES}
