"""What was written is read back before it is called saved."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from excise.bottlenecks import Bottleneck
from excise.ledger import Ledger


def check_written(folder: Path, ledger: Ledger, sites: Mapping[str, Bottleneck]) -> None:
    """Makes sure that a checkpoint holds its masks and no row that was deleted.

    Args:
        folder: of the checkpoint, whole or of an adapter.
        ledger: what the model was asked to forget.
        sites: its bottlenecks in use.

    Raises:
        ValueError: if a deleted code is found in any file, or the mask of a site in none.
    """
    unmasked = {site for site in sites if ledger.removed(site)}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 (it is no dict)
                site = next((site for site in sites if f"{site}." in key), None)
                if site is None:
                    continue
                if key.endswith(".live") and torch.equal(weights.get_tensor(key), sites[site].live.cpu()):
                    unmasked.discard(site)
                if key.rpartition(".")[2] not in sites[site].code_tensors:
                    continue
                rows = ledger.removed(site, kinds=("delete",))
                if rows and torch.count_nonzero(sites[site].by_code(weights.get_tensor(key))[rows]):
                    raise ValueError(f"{file.name} still holds deleted codes of {site} under {key}.")
    if unmasked:
        raise ValueError(
            f"The masks of {sorted(unmasked)} would not be saved. A LoRA adapter saves the bottleneck only with "
            '`LoraConfig(..., modules_to_save=["bottleneck"])`; or merge the adapter first.'
        )
