"""Checks of a bundle, as its record names them. A bundle in which one of these did not hold is not there."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity
from excise.bottlenecks.site import bottlenecks
from excise.data.inputs import Processor
from excise.ledger.ledger import Ledger
from excise.ledger.masks import check_model
from excise.models.base_checkpoint import BaseCheckpoint
from excise.report.record import Record
from excise.sharing.bundle.private_search import PrivateSearch
from excise.sharing.erasure import ErasedRows

if TYPE_CHECKING:
    from peft import PeftModel

COMPACTION = "compaction.safetensors"


def checks_held(
    erased: ErasedRows,
    shared: PreTrainedModel,
    index: Mapping[str, Tensor] | None,
    base: BaseCheckpoint | None,
    files: int,
    private: PrivateSearch,
) -> list[dict[str, Any]]:
    """The checks of a bundle, with what they looked at and what they found; none is about forgetting.

    Args:
        erased: what was looked for.
        shared: the model that was written.
        index: the new number of each old code, if deleted codes were taken out.
        base: what the model is loaded on, if only its bottlenecks were written.
        files: number of files that were read back.
        private: the private words and texts that are looked for.
    """
    checks = []

    def held(name: str, found: str, detail: str) -> None:
        checks.append({"name": name, "passed": True, "found": found, "detail": detail})

    ledger, tensors = Ledger.from_dict(shared.config.unlearning), len(shared.state_dict())
    after = "Report and card were read back once they were written; had anything been found, nothing would be there."
    if any(request.kind == "delete" for request in ledger.requests) and len(erased):
        held(
            "bytes",
            f"no deleted row found in {files} files",
            f"Every file was read back, and none holds any of the {_rows(erased)} that were erased in the "
            "writing, in fp64, fp32, bf16 or fp16, nor a tensor with anything in the place of a deleted code. " + after,
        )
    elif any(request.kind == "delete" for request in ledger.requests):
        held(
            "bytes",
            f"nothing in the place of a deleted code in {files} files",
            "Every file was read back: all rows in the place of a deleted code are zero. What they held was "
            "gone already before the writing, so its bytes are not known and were not looked for. " + after,
        )
    held(
        "reload",
        f"{tensors} tensors and the masks come back the same",
        f"Loaded again, the model is the same bit for bit in all {tensors} tensors, and its masks are those of its "
        "ledger.",
    )
    if index is not None:
        gone = sum(int((numbers < 0).sum()) for numbers in index.values())
        held(
            "compaction",
            f"{gone} deleted codes taken out",
            f"{gone} deleted codes were taken out and the others numbered anew: {COMPACTION} has, by site, the new "
            "number of each old code, -1 for those that are gone.",
        )
    if base is not None:
        held(
            "base",
            "all other weights are the base model's",
            f"All weights but the bottlenecks' are those of {base}, bit for bit; the digest of its files of weights is "
            f"{base.digest}.",
        )
    if private:
        words, texts = private.sizes["word"], private.sizes["text"]
        held(
            "private words",
            f"none found in {files} files, report and card",
            f"{words} private words and {texts} texts were looked for in every file when all were written, behind "
            "escapes and in what is compressed too; had any been found, nothing would be here.",
        )
    return checks


def check_arguments(model: PreTrainedModel, processor: Processor, mode: str) -> None:
    """Refuses what no bundle can be written of; errors as in `write_bundle`."""
    if mode not in ("delete", "mask"):
        raise ValueError(f"mode={mode!r}: expected 'delete' or 'mask'.")
    if processor is None:
        raise ValueError("A bundle holds the model's processor: make the Unlearner with its tokenizer or the like.")
    if hasattr(model, "get_base_model"):
        raise ValueError(
            "The model is wrapped by peft, and an adapter alone cannot be shared as a bundle: what it removes is still "
            "in its base model. Merge it first: Unlearner(model.merge_and_unload(), processor)."
        )
    # Layers of an adapter that was taken off again stay around the model's own.
    if getattr(model, "_hf_peft_config_loaded", False) or any(
        hasattr(module, "base_layer") for module in model.modules()
    ):
        raise ValueError(
            "An adapter was added to the model itself, as by `add_adapter`, and such a model is saved as its adapter "
            "alone. Put the adapter on with peft and merge it: "
            "Unlearner(PeftModel.from_pretrained(model, adapter).merge_and_unload(), processor)."
        )
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ValueError("A device map has put parts of the model on disk. Load it without one to write a bundle.")
    check_model(model)
    ledger = Ledger.from_dict(model.config.unlearning)
    if mode == "delete" and all(request.undone for request in ledger.requests):
        raise ValueError(
            "Nothing is forgotten: the ledger has no request in force, so there is nothing to delete. Forget something "
            "first; mode='mask' writes the model as it is."
        )


def check_record(record: Record, model: PreTrainedModel) -> None:
    """Refuses a record of another model, or of before more training; one from before the last requests will do."""

    def about(of: Record) -> Any:
        model = of.state["model"]
        return model["class"], [(site["site"], site["kind"], site["selected"]) for site in model["sites"]]

    own = Record.of(model)
    if about(record) != about(own):
        raise ValueError(f"The record is of another model, {about(record)}; this one is {about(own)}.")
    known = {(request["id"], request["topic"], request["created"]) for request in own.state["requests"]}
    for request in record.state["requests"]:
        if (request["id"], request["topic"], request["created"]) not in known:
            raise ValueError(
                f"The record is of another model: its request {request['id']} ({request['topic']}, "
                f"{request['created']}) is not in this one's ledger."
            )
    identity = Identity.from_dict(record.state["model"].get("identity"))
    identity.check(bottlenecks(model), "Record", "Measure again, and make it with `Record.of`")


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


def check_weights(folder: Path, model: "PreTrainedModel | PeftModel") -> None:
    """Makes sure that every weight of a model is in what was written of it, by whatever name.

    Args:
        folder: of the checkpoint, whole or of adapters.
        model: what was written; of a `PeftModel`, its adapters are looked for.

    Raises:
        ValueError: if one is in no file, as where another process was to write it.
    """
    needed = _by_shape(model)
    found: Counter[tuple[int, ...]] = Counter()
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            found.update(tuple(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118
    lost = [name for shape, names in needed.items() for name in sorted(names)[found[shape] :]]
    numbers = sum(len(names) * prod(shape) for shape, names in needed.items())
    # As many numbers in other shapes are what transformers makes of weights that it fuses in memory.
    if lost and numbers != sum(count * prod(shape) for shape, count in found.items()):
        raise ValueError(
            f"{len(lost)} of {sum(map(len, needed.values()))} weights, such as {lost[0]}, are in no file of what was "
            "written, so nothing is kept of it."
        )


def _by_shape(model: "PreTrainedModel | PeftModel") -> dict[tuple[int, ...], list[str]]:
    """The names of the weights that a model is saved with, by shape; of several for one tensor, the first."""
    if hasattr(model, "get_base_model"):
        from peft import get_peft_model_state_dict

        states = [get_peft_model_state_dict(model, adapter_name=name) for name in model.peft_config]
    elif getattr(model, "_hf_peft_config_loaded", False):
        states = [model.get_adapter_state_dict()]
    else:
        states = [model.state_dict(keep_vars=True)]
    left_out = getattr(model, "_keys_to_ignore_on_save", None) or ()
    seen, names = set(), defaultdict[tuple[int, ...], list[str]](list)
    for state in states:
        for name, tensor in state.items():
            place = (
                (tensor.data_ptr(), tensor.shape, tensor.stride())
                if tensor.numel() and not tensor.is_meta
                else id(tensor)
            )
            if name not in left_out and place not in seen:
                seen.add(place)
                names[tuple(tensor.shape)].append(name)
    return names


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


def _rows(erased: ErasedRows) -> str:
    """The rows that are looked for, in words: of pairs, as so many keys and so many values."""
    parts = erased.by_tensor
    if {*parts} == {"keys", "values"}:
        return f"{parts['keys']:,} keys and {parts['values']:,} values"
    return f"{len(erased)} rows"
