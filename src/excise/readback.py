"""What was written is read back before it is called saved."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from excise.bottlenecks import Bottleneck
from excise.erasure import ErasedRows
from excise.ledger.ledger import Ledger


def check_written(folder: Path, erased: ErasedRows, ledger: Ledger, sites: Mapping[str, Bottleneck]) -> None:
    """Makes sure that a checkpoint holds its masks and no row that was deleted.

    Args:
        folder: of the checkpoint, whole or of an adapter.
        erased: what must not be there.
        ledger: what the model was asked to forget.
        sites: its bottlenecks in use.

    Raises:
        ValueError: if a deleted code is found in any file, or the mask of a site in none.
    """
    check_erased(folder, erased)
    unmasked = {site for site in sites if ledger.removed(site)}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 (it is no dict)
                site = next((site for site in sites if f"{site}." in key), None)
                if site and key.endswith(".live") and torch.equal(weights.get_tensor(key), sites[site].live.cpu()):
                    unmasked.discard(site)
    if unmasked:
        raise ValueError(
            f"The masks of {sorted(unmasked)} would not be saved. A LoRA adapter saves the bottleneck only with "
            '`LoraConfig(..., modules_to_save=["bottleneck"])`; or merge the adapter first.'
        )


def check_erased(folder: Path, erased: ErasedRows, without: Collection[Path] = ()) -> None:
    """Makes sure that nothing that was erased is in any file of a folder.

    Args:
        folder: it may hold folders.
        erased: what must not be there.
        without: files, as paths in the folder, that were read already.

    Raises:
        ValueError: if something is; it names file, site and codes.
    """
    if found := erased.find_in(folder, without):
        listed = "; ".join(map(str, found[:5])) + ("; ..." if len(found) > 5 else "")
        raise ValueError(f"What was written still holds deleted codes, so nothing is kept of it. {listed}.")
