"""What a record says was made sure of. A bundle in which one of these did not hold is not there."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from excise.erasure import ErasedRows
from excise.ledger.ledger import Ledger
from excise.models.base_checkpoint import BaseCheckpoint

COMPACTION = "compaction.safetensors"


def checks_passed(
    erased: ErasedRows, shared: PreTrainedModel, index: Mapping[str, Tensor] | None, base: BaseCheckpoint | None
) -> list[dict[str, Any]]:
    """The checks of a bundle, by name, with what they found.

    Args:
        erased: what was looked for.
        shared: the model that was written.
        index: the new number of each old code, if deleted codes were taken out.
        base: what the model is loaded on, if only its bottlenecks were written.
    """
    details = {}
    ledger = Ledger.from_dict(shared.config.unlearning)
    if any(request.kind == "delete" for request in ledger.requests):
        details["deleted rows"] = (
            f"Every file was read back, and none holds any of the {len(erased)} rows that were erased in the "
            "writing, in fp64, fp32, bf16 or fp16, nor a tensor with anything in the place of a deleted code. "
            if len(erased)
            else "Every file was read back: all rows in the place of a deleted code are zero. What they held was "
            "gone already before the writing, so its bytes are not known and were not looked for. "
        ) + "Report and card were read back once they were written; had anything been found, nothing would be there."
    details["reload"] = (
        f"Loaded again, the model is the same bit for bit in all {len(shared.state_dict())} tensors, and its masks are "
        "those of its ledger."
    )
    if index is not None:
        gone = sum(int((numbers < 0).sum()) for numbers in index.values())
        details["compaction"] = (
            f"{gone} deleted codes were taken out and the others numbered anew: {COMPACTION} has, by site, the new "
            "number of each old code, -1 for those that are gone."
        )
    if base is not None:
        details["base"] = (
            f"All weights but the bottlenecks' are those of {base}, bit for bit; the digest of its files of weights is "
            f"{base.digest}."
        )
    return [{"name": name, "passed": True, "detail": detail} for name, detail in details.items()]
