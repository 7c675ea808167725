"""Loading of models by the names that a command line gives, onto the device that it names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from excise.data.paths import hub_is_out_of_reach, is_hub_id, is_local, not_there

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from excise.unlearner import Unlearner


def load_model(name: str, device: str | None = None) -> "tuple[PreTrainedModel, Any]":
    """Any model, of the class that it was saved as, and its processor.

    Args:
        name: of the model.
        device: as in `device_of`.

    Raises:
        ValueError: if there is none of the name.
    """
    from excise.models.loading import load_model, load_processor

    check_there(name)
    there = device_of(device)
    try:
        return load_model(name).eval().to(there), load_processor(name)
    except OSError as error:
        raise _not_there(name, error) from error


def load_unlearner(name: str, index: str | None = None, device: str | None = None, topic: object = None) -> "Unlearner":
    """A model with bottlenecks or an adapter of one, and its ledger.

    Args:
        name: of the model.
        index: the folder of a code index.
        topic: sets that are meant for it: whether they are of what the model takes is looked at.
        device: as in `device_of`.

    Raises:
        ValueError: if there is no model of the name, it has no bottleneck, its masks are not those of its ledger, or
            the index is none of it.
    """
    from excise.unlearner import Unlearner

    check_there(name)
    there = device_of(device)
    try:
        unlearner = Unlearner.from_pretrained(name)
    except OSError as error:
        raise _not_there(name, error) from error
    if topic is not None:
        from excise.codes.topic_counts import check_kind

        check_kind(topic, unlearner.processor)
    unlearner.whole.eval().to(there)
    if index is not None:
        from excise.codes import CodeIndex

        unlearner.index = CodeIndex.load(index)
        unlearner.index.check(unlearner.model, unlearner.processor)
    return unlearner


def check_there(name: str) -> None:
    """Refuses what is written as a folder and is none, and what neither a folder nor the Hub can give.

    Raises:
        ValueError: if so.
    """
    if Path(name).is_file():
        raise ValueError(f"{name} is a file. Give the folder of a saved model, or its id on the Hub.")
    if name.startswith((".", os.sep)) and not Path(name).is_dir():
        raise ValueError(f"There is no folder {name}. Give the folder of a saved model, or its id on the Hub.")
    if Path(name).is_dir():
        return
    from huggingface_hub import try_to_load_from_cache

    if is_local(name) or not is_hub_id(name):
        raise ValueError(f"{not_there(name)} Give the folder of a saved model, or its id on the Hub.")
    if try_to_load_from_cache(name, "config.json") is None and hub_is_out_of_reach():
        raise ValueError(
            f"There is no folder {name} here, and no model of that name came from the Hub: it cannot be reached."
        )


def _not_there(name: str, error: OSError) -> Exception:
    """What to say of a model that could not be loaded: that there is no such folder, if there is none."""
    if Path(name).exists():
        return error
    reason = " ".join(str(error).split()).partition(". ")[0]
    return ValueError(f"There is no folder {name} here, and no model of that name came from the Hub: {reason}.")


def device_of(name: str | None) -> str:
    """The device that is asked for, after making sure that it is there; a GPU where there is one if none is.

    Raises:
        ValueError: if it is not there.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return "cuda" if gpus else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= gpus:
        known = f"cuda:0 to cuda:{gpus - 1}" if gpus > 1 else "cuda:0" if gpus else "none that torch can use"
        raise ValueError(f"There is no GPU {name} here: of GPUs there is {known}. Give another --device, such as cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("There is no device mps here, which Macs with a chip of Apple's have. Give --device cpu.")
    return name
