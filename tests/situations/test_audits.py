"""Files that an audit looks through: what was erased is found under any name, and what is somebody else's is not."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import ResNetModel

from excise import Selection, Unlearner
from excise.sharing import ErasedRows
from tests.helpers import tiny_images


@pytest.fixture(scope="module")
def masked():
    """A classifier whose keys have the shape of its encoder's convolutions, (8, 8, 9) as (8, 8, 3, 3)."""
    model = tiny_images.key_value_model("resnet", num_codebooks=8, num_pairs=8, key_dim=9)
    codes = [8 * codebook + pair for codebook in range(8) for pair in range(5)]
    Unlearner(model, tiny_images.processor()).mask(Selection({"bottleneck": codes}), "green")
    return model


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


# By what a file holds: its tensors, made of the model, and whether something erased is in them.
FILES = {
    "another model's convolution of the shape of the keys": (lambda m: {"stem.conv.weight": noise(8, 8, 3, 3)}, False),
    "another model's layer with a number for each pair": (lambda m: {"query.weight": noise(8, 8)}, False),
    "another model's bias with a number for each pair": (lambda m: {"layer.bias": noise(64)}, False),
    "the plain encoder, whose names lack the prefix": (lambda m: dict(m.encoder.state_dict()), False),
    "the keys under their own name": (lambda m: {"bottleneck.keys": m.bottleneck.keys.clone()}, True),
    "the keys under the name of another weight": (lambda m: {"copy.weight": m.bottleneck.keys.clone()}, True),
    "keys that moved a little, as the weight of another module": (
        lambda m: {"average.weight": m.bottleneck.keys + 0.3 * noise(8, 8, 9)},
        True,
    ),
    "moments of an optimizer, of the shape of the keys": (lambda m: {"state.0.exp_avg": noise(8, 8, 9)}, True),
    "keys that moved, under no telling name": (lambda m: {"shadow": m.bottleneck.keys + 2 * noise(8, 8, 9)}, True),
}


@pytest.mark.parametrize(("made", "found"), FILES.values(), ids=FILES)
def test_an_audit_finds_what_was_erased_and_nothing_else(masked, tmp_path, made, found):
    tensors = {name: tensor.contiguous() for name, tensor in made(masked).items() if tensor.dtype == torch.float32}
    save_file(tensors, tmp_path / "model.safetensors")
    assert bool(ErasedRows.of(masked).find_in(tmp_path)) is found


def test_a_saved_encoder_is_no_finding(masked, tmp_path):
    ResNetModel(tiny_images.ENCODERS["resnet"]).save_pretrained(tmp_path)
    assert ErasedRows.of(masked).find_in(tmp_path) == []
