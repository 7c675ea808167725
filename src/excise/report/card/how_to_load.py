"""Instructions to load what a card is about, and to go on from it."""

import json
from collections.abc import Mapping
from typing import Any

from excise.models.auto import LIKE, is_ours
from excise.models.remote_code import auto_map, requirements
from excise.report.card.requests import can_be_undone
from excise.report.markdown import code, counted, plain
from excise.report.measures import takes

FOLDER = "path/to/this/folder"  # until it is known where it will be


def loading(state: Mapping[str, Any], where: str | None, *, bottleneck_only: bool, remote_code: bool) -> str:
    """Code that loads it, with excise and without.

    Args:
        state: of a record.
        where: id on the Hub or path that it is loaded by.
        bottleneck_only: whether the base model is fetched.
        remote_code: whether the code to load it without excise is in its folder.
    """
    where = _quoted(where)
    auto = auto_class(state["model"])
    parts = []
    if bottleneck_only:
        base = state["model"]["base_model"]
        parts.append(
            f"This holds the bottleneck and its masks only. All other weights are fetched from {code(base['id'])} at "
            f"{code(base['revision'])}; no other state of it is taken."
        )
    parts.append("With excise, whose own classes are used:")
    parts.append(
        _python(["import excise", f"from transformers import {auto}", "", f"model = {auto}.from_pretrained({where})"])
    )
    if remote_code:
        names = ", ".join(map(code, requirements(state["model"]["model_type"])))
        parts.append(f"Without excise, by the code in this repository (read it first; it needs {names}):")
        trusted = f"model = {auto}.from_pretrained({where}, trust_remote_code=True)"
        parts.append(_python([f"from transformers import {auto}", "", trusted]))
        parts.append(
            "The `Auto*` classes of tokenizers and processors take `trust_remote_code=True` too, and ask without it: "
            "the settings of the model are in that code."
        )
    said = "The mask is in force, and a checkpoint whose mask or erased rows are not those of its ledger does not load."
    if state["model"]["model_type"] in LIKE and not bottleneck_only:
        said += (
            " The plain class of the base model would load it without its bottleneck, with a warning only: do not use "
            "that."
        )
    parts.append(said)
    return "\n\n".join(parts)


def going_on(state: Mapping[str, Any], where: str | None) -> str:
    """Code that undoes a request where that can be done, and that forgets more."""
    where = _quoted(where)
    masks = [request for request in state["requests"] if can_be_undone(request, state)]
    lines = [*_unlearner(where), "print(unlearner.ledger)"]
    if masks:
        lines += [f"unlearner.undo({masks[-1]['id']})  # the model is as it was before that request"]
        lines += [f"unlearner.delete_request({masks[0]['id']})  # or for good"] if len(masks) > 1 else []
        said = (
            f"{counted(len(masks), 'request')} can be undone{', in any order' if masks[1:] else ''}; others can follow:"
        )
    else:
        said = "What was deleted cannot be undone. Further requests can follow:" if state["requests"] else ""
    sets = {"token": ["topic"], "image": ["class"]}.get(takes(state["model"]), ["topic", "class"])
    lines += [f"unlearner.forget(topic)  # of {' or '.join(f'excise.{one}_sets(...)' for one in sets)}"]
    return "\n\n".join(part for part in (said, _python(lines)) if part)


def auto_class(model: Mapping[str, Any]) -> str:
    """The `Auto*` class that opens a model as what it was saved as."""
    if is_ours(model["model_type"]):
        for name, found in sorted(auto_map(model["model_type"]).items()):
            if found.partition(".")[2] == model["class"]:
                return name
    return "AutoModel"


def _unlearner(where: str) -> list[str]:
    return ["from excise import Unlearner", "", f"unlearner = Unlearner.from_pretrained({where})"]


def _quoted(where: str | None) -> str:
    return json.dumps(plain(where or FOLDER), ensure_ascii=False)


def _python(lines: list[str]) -> str:
    return "\n".join(["```python", *lines, "```"])
