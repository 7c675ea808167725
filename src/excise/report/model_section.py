"""What a record says of a model, read off the model: its bottlenecks and its ledger."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from excise.bottlenecks import Bottleneck, KeyValueBottleneck
from excise.bottlenecks.site import bottlenecks, uncompiled
from excise.ledger.ledger import Ledger
from excise.ledger.packing import pack

# The pipelines on the Hub that models belong in, by the end of the name of their class.
TASKS = {
    "ForConditionalGeneration": "text2text-generation",
    "ForImageClassification": "image-classification",
    "CLIPModel": "zero-shot-image-classification",
    "VisionModel": "image-feature-extraction",
}


def inner_model(model: nn.Module) -> PreTrainedModel:
    """The model itself, of one that may be wrapped by peft or compiled."""
    model = uncompiled(model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def model_section(model: PreTrainedModel, base_model: Mapping[str, Any] | None) -> dict[str, Any]:
    """A model's class, size and bottlenecks as JSON values.

    Args:
        model: a model with bottlenecks.
        base_model: `id` and `revision` of what it was made from, if that is known.

    Raises:
        ValueError: if the model has no bottleneck, or the base model is described otherwise.
    """
    if base_model is not None and set(base_model) != {"id", "revision"}:
        raise ValueError(f"base_model={dict(base_model)}: expected its 'id' and 'revision', or None.")
    name = type(model).__name__
    return {
        "class": name,
        "model_type": model.config.model_type,
        "task": next((task for end, task in TASKS.items() if name.endswith(end)), None),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "base_model": None if base_model is None else dict(base_model),
        "sites": sites_section(model),
    }


def sites_section(model: PreTrainedModel) -> list[dict[str, Any]]:
    """How many codes of each bottleneck are live, masked and deleted, in the order in which they run.

    Raises:
        ValueError: if the model has no bottleneck.
    """
    sites = bottlenecks(model)
    ledger = Ledger.from_dict(model.config.unlearning)
    return [_site(site, bottleneck, ledger) for site, bottleneck in sites.items()]


def requests_section(model: PreTrainedModel) -> list[dict[str, Any]]:
    """A model's ledger as JSON values, its codes packed as in the model's config."""
    return [
        {
            "id": request.id,
            "kind": request.kind,
            "topic": request.topic,
            "num_codes": request.num_codes,
            "codes": {site: pack(codes) for site, codes in request.codes.items()},
            "thresholds": dict(request.thresholds),
            "data": dict(request.data),
            "created": request.created,
            "undone": request.undone,
        }
        for request in Ledger.from_dict(model.config.unlearning).requests
    ]


def _site(site: str, bottleneck: Bottleneck, ledger: Ledger) -> dict[str, Any]:
    config, key_value = bottleneck.config, isinstance(bottleneck, KeyValueBottleneck)
    live, deleted = int(bottleneck.live.sum()), len(ledger.removed(site, kinds=("delete",)))
    return {
        "site": site,
        "kind": "key_value" if key_value else "codebook",
        "num_codes": bottleneck.num_codes,
        "selected": config.num_codebooks * config.top_k if key_value else config.top_s,
        "live": live,
        "masked": bottleneck.num_codes - live - deleted,
        "deleted": deleted,
    }
