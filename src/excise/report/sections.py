"""Sections of a record that are read off the model: its bottlenecks and its ledger."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import PIL.Image
from torch import nn
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
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
    whole: Any = uncompiled(model)
    return whole.get_base_model() if hasattr(whole, "get_base_model") else whole


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
    live, deleted = int(bottleneck.live.sum()), len(ledger.removed(site, kinds=("delete",)))
    return {
        "site": site,
        "kind": bottleneck.kind,
        "num_codes": bottleneck.num_codes,
        "selected": bottleneck.num_selected,
        "live": live,
        "masked": bottleneck.num_codes - live - deleted,
        "deleted": deleted,
    }


# A strip of so many square pictures, each so many pixels wide: some 3 kB a code.
MOST, SIDE = 5, 48

Value = TypeVar("Value")


def codes_section(
    tokens: Mapping[tuple[str, int], Mapping[str, int]] | None,
    thumbnails: Mapping[tuple[str, int], PIL.Image.Image | Sequence[PIL.Image.Image]] | None,
) -> list[dict[str, Any]]:
    """One entry for each code of which something is known, by site and number.

    Args:
        tokens: by site and code, how often each token selects it.
        thumbnails: by site and code, an image that selects it or several.
    """
    counts_of, images_of = _by_code(tokens or {}), _by_code(thumbnails or {})
    section = []
    for site, code in sorted({*counts_of, *images_of}):
        counts = counts_of.get((site, code), {})
        best = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        entry: dict[str, Any] = {"site": site, "code": code, "tokens": [[token, int(count)] for token, count in best]}
        if (site, code) in images_of:
            entry["thumbnail"] = _data_uri(images_of[site, code])
        section.append(entry)
    return section


def _by_code(values: Mapping[tuple[str, int], Value]) -> dict[tuple[str, int], Value]:
    return {(str(site), int(code)): value for (site, code), value in values.items()}


def _data_uri(images: PIL.Image.Image | Sequence[PIL.Image.Image]) -> str:
    """The images side by side, as a JPEG in a URI."""
    images = [images] if isinstance(images, PIL.Image.Image) else list(images)[:MOST]
    if not images:
        raise ValueError("A code has an empty list of thumbnails; give an image, or leave the code out.")
    strip = PIL.Image.new("RGB", (SIDE * len(images), SIDE), "white")
    for i, image in enumerate(images):
        strip.paste(square(image, SIDE), (SIDE * i, 0))
    out = io.BytesIO()
    strip.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def square(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """The middle of an image, as a square of so many pixels."""
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    middle = image.convert("RGB").crop((left, top, left + least, top + least))
    # small images keep their pixels, which a smooth enlargement would blur
    kind = PIL.Image.Resampling.NEAREST if least < side else PIL.Image.Resampling.LANCZOS
    return middle.resize((side, side), kind)
