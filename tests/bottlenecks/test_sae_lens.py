"""Checkpoints in the format of sae-lens: read as sparse units that compute the same, or refused by name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from excise.bottlenecks import SparseUnits, read_sae_lens

WIDTH, UNITS = 6, 20
BASE = {"d_in": WIDTH, "d_sae": UNITS, "dtype": "float32", "normalize_activations": "none"}
TOPK = BASE | {"architecture": "topk", "k": 4, "apply_b_dec_to_input": True, "rescale_acts_by_decoder_norm": False}
JUMP = BASE | {"architecture": "jumprelu", "apply_b_dec_to_input": True}


def tensors(**others) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    shapes = {"W_enc": (WIDTH, UNITS), "b_enc": (UNITS,), "W_dec": (UNITS, WIDTH), "b_dec": (WIDTH,)}
    made = {name: torch.randn(shape) for name, shape in shapes.items()} | others
    return {name: tensor for name, tensor in made.items() if tensor is not None}


def written(folder, settings, weights=None):
    """A folder as sae-lens's `save_model` leaves it."""
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(settings))
    save_file(tensors() if weights is None else weights, folder / "sae_weights.safetensors")
    return folder


def by_its_definition(settings, of, x):
    """How active each unit is, and the reconstruction, as sae-lens defines them (6.54)."""
    shifted = x - of["b_dec"] if settings.get("apply_b_dec_to_input", True) else x
    inputs = shifted @ of["W_enc"] + of["b_enc"]
    lengths = of["W_dec"].norm(dim=1) if settings.get("rescale_acts_by_decoder_norm") else torch.ones(UNITS)
    active = (inputs * lengths).relu()
    k = settings.get("k") or (settings.get("activation_fn_kwargs") or {}).get("k")
    if k:
        active = torch.zeros_like(active).scatter(-1, (top := (inputs * lengths).topk(k)).indices, top.values.relu())
    if "threshold" in of:
        active = active * (inputs > of["threshold"])
    return active, (active / lengths) @ of["W_dec"] + of["b_dec"]


OLD = BASE | {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "finetuning_scaling_factor": False}


@pytest.mark.parametrize(
    ("settings", "others", "options"),
    [
        (TOPK, {}, {}),
        (TOPK | {"rescale_acts_by_decoder_norm": True}, {}, {}),
        (TOPK | {"apply_b_dec_to_input": False}, {}, {}),
        (JUMP, {"threshold": torch.linspace(-1, 3, UNITS)}, {"active": UNITS}),
        (JUMP | {"apply_b_dec_to_input": False}, {"threshold": torch.ones(UNITS)}, {"active": 99}),
        (BASE | {"architecture": "standard"}, {}, {"active": UNITS}),
        (BASE | {"architecture": "standard", "activation_fn": "relu", "hook_layer": 3}, {}, {"active": UNITS}),
        (OLD, {"scaling_factor": torch.ones(UNITS)}, {}),
        ({k: v for k, v in OLD.items() if k != "normalize_activations"}, {}, {}),
    ],
    ids=[
        "topk",
        "topk by what decoder rows make of it",
        "topk without its bias before the encoder",
        "jumprelu",
        "jumprelu without its bias",
        "standard",
        "standard of sae-lens 4",
        "topk of sae-lens 4",
        "topk of sae-lens 3",
    ],
)
def test_a_checkpoint_is_read_as_units_that_compute_what_it_does(tmp_path, settings, others, options):
    of = tensors(**others)
    module = read_sae_lens(written(tmp_path / "sae", settings, of), **options)
    x = 2 * torch.randn(3, 7, WIDTH)
    active, expected = by_its_definition(settings, of, x)
    torch.testing.assert_close(module(x).reconstruction, expected)
    codes, strengths = (part.view(3, 7, -1) for part in module.selected(x))
    found = torch.zeros(3, 7, UNITS + 1).scatter(-1, codes % (UNITS + 1), strengths)[..., :UNITS]
    torch.testing.assert_close(found, active)
    assert (strengths.diff(dim=-1) <= 0).all()
    again = read_sae_lens(tmp_path / "sae", **options)
    assert again.config.codes_id == module.config.codes_id is not None
    module.save_pretrained(tmp_path / "ours")
    torch.testing.assert_close(SparseUnits.from_pretrained(tmp_path / "ours")(x).reconstruction, expected)


def test_a_factor_of_activations_is_taken_from_the_file_beside_it_or_as_given(tmp_path):
    settings = TOPK | {"normalize_activations": "expected_average_only_in"}
    folder, x = written(tmp_path / "sae", settings), 2 * torch.randn(3, 7, WIDTH)
    expected = by_its_definition(settings, tensors(), 0.25 * x)[1] / 0.25
    torch.testing.assert_close(read_sae_lens(folder, scaling_factor=0.25)(x).reconstruction, expected)
    with pytest.raises(ValueError, match=r"a factor .* Give it as `scaling_factor`"):
        read_sae_lens(folder)
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.25}))
    torch.testing.assert_close(read_sae_lens(folder)(x).reconstruction, expected)


@pytest.mark.parametrize(
    ("settings", "others", "options", "message"),
    [
        ({"architecture": "gated"}, {}, {}, "'gated' one.*chosen by one encoder and measured by another"),
        ({"architecture": "transcoder"}, {}, {}, "'transcoder' one, which sparse units cannot be"),
        ({"architecture": "temporal"}, {}, {}, "'temporal' one.*tokens before"),
        ({"activation_fn": "tanh-relu", "architecture": "standard"}, {}, {}, "activation function 'tanh-relu'"),
        ({"normalize_activations": "layer_norm"}, {}, {}, "'layer_norm'.*mean and deviation.*beside the units"),
        ({"normalize_activations": "constant_norm_rescale"}, {}, {}, "its length would be passed on"),
        ({"normalize_activations": "covariance_whitening"}, {}, {}, "not yet folded"),
        ({"reshape_activations": "hook_z"}, {}, {}, "attention heads"),
        ({"finetuning_scaling_factor": True}, {}, {}, "finetuning_scaling_factor"),
        ({}, {"threshold": torch.ones(UNITS)}, {}, r"\['threshold'\], which no topk"),
        ({}, {"b_enc": None}, {}, "has no b_enc"),
        ({}, {"W_dec": torch.ones(UNITS, WIDTH + 1)}, {}, r"W_dec has the shape \(20, 7\); expected \(20, 6\)"),
        ({}, {}, {"active": 5}, "active=5.*trained with 4"),
        ({}, {}, {"scaling_factor": 0.5}, "takes activations as they are"),
        ({"k": None}, {}, {}, "has no `k`"),
        (JUMP, {"threshold": torch.ones(UNITS)}, {}, "Any number of units of a jumprelu .* Give it as `active`"),
        (JUMP, {}, {"active": 5}, "has no threshold"),
        ({"normalize_activations": True}, {}, {"scaling_factor": -1.0}, "scaling_factor=-1.0: expected a number"),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
def test_what_sparse_units_cannot_be_is_refused_by_name(tmp_path, settings, others, options, message):
    folder = written(tmp_path / "sae", TOPK | settings, tensors(**others))
    with pytest.raises(ValueError, match=message):
        read_sae_lens(folder, **options)


def test_a_folder_without_a_checkpoint_is_told_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no cfg\.json"):
        read_sae_lens(tmp_path)
    (tmp_path / "cfg.json").write_text("[]")
    with pytest.raises(FileNotFoundError, match=r"no sae_weights\.safetensors"):
        read_sae_lens(tmp_path)
    save_file(tensors(), tmp_path / "sae_weights.safetensors")
    with pytest.raises(ValueError, match="holds no settings"):
        read_sae_lens(tmp_path)
