"""Files that version 0.1 wrote, and what it made of them (see `tests/fixtures/make_version_0_1`)."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

FOLDER = Path(__file__).parents[1] / "fixtures" / "version_0_1"
VALUES = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
TENSORS = load_file(FOLDER / "expected.safetensors")


def inputs(kind: str) -> dict[str, torch.Tensor]:
    """What models of a kind were given."""
    start = f"inputs/{kind}/"
    return {name.removeprefix(start): tensor.clone() for name, tensor in TENSORS.items() if name.startswith(start)}


@torch.no_grad()
def logits(model, kind: str) -> torch.Tensor:
    """What a model says to the inputs of its kind."""
    output = model.eval()(**inputs(kind))
    return output["logits" if "logits" in output else "logits_per_image"]


def assert_as_noted(actual: torch.Tensor, name: str) -> None:
    """Makes sure that logits are those of 0.1, but for the order in which another processor adds numbers.

    In double precision these models differ by 4e-7 of their largest logit, and by a third of it or more without masks.
    """
    expected = TENSORS[name]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
