"""Sections of a record: the model with its bottlenecks and its ledger, tables of codes, what codes stand for."""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import PIL.Image
from torch import nn
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity, weights_digest
from excise.bottlenecks.site import bottlenecks, unwrapped
from excise.codes.enrichment import Enrichment
from excise.codes.selection import Selection, Step
from excise.ledger.erased_tables import rows_by_table
from excise.ledger.ledger import Ledger
from excise.ledger.packing import codes_digest, pack, unpack
from excise.report.attacks import AttackReport
from excise.report.frontier import Frontier
from excise.report.results import Evaluation
from excise.report.sweep import Sweep

# The pipelines on the Hub that models belong in, by the end of the name of their class.
TASKS = {
    "ForConditionalGeneration": "text2text-generation",
    "ForCausalLM": "text-generation",
    "ForImageClassification": "image-classification",
    "CLIPModel": "zero-shot-image-classification",
    "VisionModel": "image-feature-extraction",
}


def inner_model(model: nn.Module) -> PreTrainedModel:
    """The model itself, of one that may be wrapped by peft or compiled."""
    whole: Any = unwrapped(model)
    return whole.get_base_model() if hasattr(whole, "get_base_model") else whole


def model_section(model: PreTrainedModel, base_model: Mapping[str, Any] | None) -> dict[str, Any]:
    """A model's class, size, bottlenecks and the identity of their codes as JSON values.

    Args:
        model: a model with bottlenecks.
        base_model: `id` and `revision` of what it was made from; what `from_base` has remembered if not given.

    Raises:
        ValueError: if the model has no bottleneck, or the base model is described otherwise.
    """
    base_model = getattr(model.config, "base_model", None) if base_model is None else base_model
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
        "removed": removed_section(model),
        "identity": Identity.of(bottlenecks(model)).to_dict(),
    }


def removed_section(model: PreTrainedModel) -> dict[str, Any]:
    """How many codes requests in force have removed, digests of these and of the weights, which evaluations match."""
    ledger = Ledger.from_dict(model.config.unlearning)
    codes = {site: ledger.removed(site) for site in bottlenecks(model)}
    about = {"codes": sum(map(len, codes.values())), "digest": codes_digest(codes)}
    return about | {"weights": weights_digest(model, codes, rows_by_table(model, ledger.rows_of(("mask", "delete"))))}


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
            **({"private": True} if request.private else {}),
            **({"rows": {name: pack(tokens) for name, tokens in request.rows.items()}} if request.rows else {}),
        }
        for request in Ledger.from_dict(model.config.unlearning).requests
    ]


def same_request(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two entries of ledgers are one request, and remove the same codes; a mask may have become a deletion."""
    return all(one[name] == other[name] for name in ("id", "topic", "codes", "created", "undone"))


def evidence_section(
    evidence: Iterable[Evaluation | Sweep | Frontier | AttackReport | Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Evidence as JSON values. A sweep is its steps: evaluations with an S', without the answers."""
    section: list[Mapping[str, Any]] = []
    for one in evidence:
        if isinstance(one, Sweep):
            for top_s, step in one.evaluations.items():
                settings = {**step.settings, "top_s": top_s}
                section.append(step.to_dict() | {"outputs": {}, "references": {}, "settings": settings})
        else:
            section.append(one if isinstance(one, Mapping) else one.to_dict())
    return section


class Table(NamedTuple):
    """A table of a record, and what was chosen from it.

    Args:
        topic: whose codes.
        file: its name beside the record.
        table: a row a code.
        step: what one search chose from it in one round; `None` where only the ledger tells.
    """

    topic: str
    file: str
    table: Enrichment
    step: Step | None


def tables_of(enrichments: Iterable[tuple[str, Enrichment | Selection]]) -> list[Table]:
    """The tables of topics, in order, and a file name for each.

    Raises:
        ValueError: if a selection has no tables.
    """
    entries: list[tuple[str, Enrichment, Step | None]] = []
    for topic, given in enrichments:
        if not isinstance(given, Selection):
            entries.append((topic, given, None))
            continue
        if not given.steps:
            raise ValueError(
                f"The selection of {topic!r} has no tables: it was read from a file, or its search tests nothing. Give "
                "one that `choose(..., tables=True)` has made, or the table of `enrich`."
            )
        entries += [(topic, step.table, step) for step in given.steps]
    names = file_names([topic for topic, *_ in entries])
    return [Table(topic, name, table, step) for name, (topic, table, step) in zip(names, entries, strict=True)]


def file_names(topics: Sequence[str]) -> list[str]:
    """A file name for each topic: of its letters and digits, and a number where two would be the same."""
    names: list[str] = []
    for topic in topics:
        stem = name = "enrichment-" + (re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")[:40] or "topic")
        for number in range(2, len(topics) + 2):
            if f"{name}.parquet" not in names:
                break
            name = f"{stem}-{number}"
        names.append(f"{name}.parquet")
    return names


def described(entry: Table, ledger: Ledger) -> dict[str, Any]:
    """What the record says of a table; which of its codes were removed, too, as a model's codes may be renumbered.

    Where codes were chosen in several rounds, those that this table chose stand apart from the others.
    """
    table, step = entry.table, entry.step
    removed: dict[str, set[int]] = {}
    later: dict[str, set[int]] = {}
    rounds = 1
    for request in ledger.requests:
        if request.topic == entry.topic and not request.undone:
            _add(removed, request.codes)
            of_request = request.thresholds.get("rounds", ())
            rounds = max(rounds, len(of_request))
            for one in of_request[1:]:
                _add(later, {site: unpack(codes) for site, codes in one["codes"].items()})
    chosen = {site: set(codes) for site, codes in step.codes.items()} if step else {}
    selected = {
        site: codes & chosen.get(site, set()) if step else codes - later.get(site, set())
        for site, codes in removed.items()
    }
    about = {
        "topic": entry.topic,
        "file": entry.file,
        "method": table.method,
        "top_s": table.top_s,
        "positions": table.positions,
        "num_target": table.num_target,
        "num_control": table.num_control,
        "rows": len(table),
        "selected": {site: pack(sorted(codes)) for site, codes in selected.items()},
    }
    if step:
        about["thresholds"] = dict(step.thresholds)
    elsewhere = {site: pack(sorted(codes - selected[site])) for site, codes in removed.items()}
    if rounds > 1 or any(elsewhere.values()):
        about |= {"round": step.round if step else 1, "rounds": rounds, "elsewhere": elsewhere}
    return about


def _add(codes: dict[str, set[int]], more: Mapping[str, Iterable[int]]) -> None:
    for site, ids in more.items():
        codes.setdefault(site, set()).update(ids)


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
