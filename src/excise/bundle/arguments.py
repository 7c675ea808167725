"""What a bundle can be written of: looked at before anything is written."""

from typing import Any

from transformers import PreTrainedModel

from excise.bottlenecks.site import bottlenecks
from excise.data.inputs import Processor
from excise.ledger.ledger import Ledger, check_masks
from excise.report import Record


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
    sites = bottlenecks(model)
    check_masks(model.config.unlearning, sites)
    ledger = Ledger.from_dict(model.config.unlearning)
    if mode == "delete" and all(request.undone for request in ledger.requests):
        raise ValueError(
            "Nothing is forgotten: the ledger has no request in force, so there is nothing to delete. Forget something "
            "first; mode='mask' writes the model as it is."
        )


def check_record(record: Record, model: PreTrainedModel) -> None:
    """Refuses a record of another model; one from before the last requests will do."""

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
