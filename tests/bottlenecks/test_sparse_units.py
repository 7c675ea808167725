"""Sparse units alone: the equations, gradients, padding, masks, what they start from, their settings."""

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError

from excise import SparseUnitsConfig
from excise.bottlenecks import SparseUnits


def units(**settings) -> SparseUnits:
    module = SparseUnits(SparseUnitsConfig(**{"hidden_size": 6, "num_codes": 20, "active": 3} | settings))
    module.mean.copy_(torch.linspace(-1, 1, module.config.hidden_size))
    module.scale.fill_(2.0)
    for parameter in module.parameters():
        parameter.data.normal_()
    return module


def written_out(module: SparseUnits, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is passed on, and how active each unit is, `(..., num_codes)`."""
    x = (h - module.mean) / module.scale
    inputs = (x - module.decoder_bias) @ module.encoder_weight.T + module.encoder_bias
    if module.config.activation == "jumprelu":
        inputs = torch.where(inputs > module.threshold, inputs, 0)
    inputs = torch.where(module.live, inputs.relu(), 0)
    lengths = module.decoder_weight.norm(dim=1) if module.config.scale_by_decoder else 1
    strengths = inputs * lengths
    least = strengths.topk(module.config.active).values[..., -1:]
    kept = strengths >= least
    decoded = torch.where(kept, inputs, 0) @ module.decoder_weight + module.decoder_bias
    return decoded * module.scale + module.mean, torch.where(kept, strengths, 0)


@pytest.mark.parametrize(
    "settings",
    [{}, {"scale_by_decoder": False}, {"activation": "jumprelu"}, {"active": 1}, {"active": 20}],
    ids=["top-k", "by inputs alone", "thresholds", "one active", "all that are above 0"],
)
def test_a_forward_pass_is_the_equations_written_out(settings):
    module, h = units(l1_weight=0.01, reconstruction_weight=0.5, **settings), torch.randn(2, 4, 6)
    if module.config.activation == "jumprelu":
        module.threshold.uniform_(-1, 3)
    module.live[[3, 5]] = False
    passed, strengths = written_out(module, h)
    for output in (module(h), torch.no_grad()(module)(h)):
        torch.testing.assert_close(output.reconstruction, passed)
        torch.testing.assert_close(output.reconstruction_error, (h - passed).square().mean(-1) / 4)
        torch.testing.assert_close(output.l1, strengths.sum(-1))
        torch.testing.assert_close(output.loss, 0.5 * output.reconstruction_error.mean() + 0.01 * output.l1.mean())
        ranks = strengths.argsort(dim=-1, descending=True)[..., : module.config.active]
        expected = torch.where(strengths.gather(-1, ranks) > 0, ranks, -1)
        assert torch.equal(output.codes, expected)


def test_rank_and_selected_are_the_units_of_a_forward_pass_and_how_active_they_are():
    module, h = units(), torch.randn(2, 4, 6)
    _, strengths = written_out(module, h)
    codes, similarity = module.selected(h)
    assert torch.equal(codes.view(2, 4, 3), module(h).codes)
    found = strengths.gather(-1, codes.view(2, 4, 3).clamp_min(0))
    torch.testing.assert_close(similarity.view(2, 4, 3), found.masked_fill(codes.view(2, 4, 3) < 0, 0))
    ranked, _ = module.rank(h.flatten(0, 1), 12)
    assert ranked.shape == (8, 1, 12) and torch.equal(ranked[:, 0, :3], codes.view(8, 3))
    places, fitting = module.ranked(h.flatten(0, 1), 12)
    assert (places >= 0).all() and torch.equal(fitting, (ranked[:, 0] >= 0).sum(-1))


def test_many_tokens_are_looked_up_in_chunks_to_the_same_units(monkeypatch):
    module, h = units(), torch.randn(3, 50, 6)
    expected = module(h)
    monkeypatch.setattr("excise.bottlenecks.sparse_units.bottleneck.MAX_UNITS", 100)
    with torch.no_grad():
        output = module(h)
    assert torch.equal(output.codes, expected.codes)
    torch.testing.assert_close(output.reconstruction, expected.reconstruction)


def test_only_active_units_get_a_gradient_and_so_does_what_comes_before():
    module, h = units(num_codes=200), torch.randn(1, 3, 6, requires_grad=True)
    output = module(h)
    output.reconstruction.square().sum().backward()
    active = output.codes[output.codes >= 0].unique().tolist()
    for name in module.code_tensors:
        rows = module.by_code(getattr(module, name).grad).abs().sum(1).nonzero().flatten()
        assert rows.tolist() == active, name
    assert h.grad.abs().sum() > 0 and module.decoder_bias.grad.abs().sum() > 0


def test_gradients_are_those_of_finite_differences():
    module, h = units(active=20).double(), torch.randn(1, 2, 6, dtype=torch.float64)
    module(h).loss.backward()
    for name, parameter in module.named_parameters():
        moved, step = torch.randn_like(parameter), 1e-3
        losses = []
        for sign in (1, -1):
            parameter.data.add_(sign * step * moved)
            losses.append(module(h).loss.item())
            parameter.data.sub_(sign * step * moved)
        expected = (losses[0] - losses[1]) / (2 * step)
        assert (parameter.grad * moved).sum().item() == pytest.approx(expected, rel=0.05, abs=1e-3), name


def test_the_target_passes_a_gradient_back_unless_it_is_detached():
    def gradient(detach):
        module = units(detach_target=detach)
        module.encoder_weight.data.zero_()  # so that nothing comes back through the units
        h = torch.randn(1, 4, 6, requires_grad=True)
        module(h).loss.backward()
        return h.grad.abs().sum()

    assert gradient(False) > 0 and gradient(True) == 0


def test_padding_has_code_minus_one_counts_in_no_loss_and_changes_no_other_token():
    module, h = units(l1_weight=0.1), torch.randn(2, 5, 6)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]])
    output, without = module(h, attention_mask=mask), module(h)
    for name in ("reconstruction_error", "l1"):
        assert not output[name][mask == 0].any()
        assert torch.equal(output[name][mask == 1], without[name][mask == 1])
    assert (output.codes[mask == 0] == -1).all()
    torch.testing.assert_close(output.loss, module(h[mask == 1][None]).loss)
    assert torch.equal(module(h, attention_mask=mask.bool()).loss, output.loss)
    nothing = module(h, attention_mask=torch.zeros(2, 5, dtype=torch.long)).loss
    nothing.backward()
    assert nothing == 0 and all(p.grad.isfinite().all() for p in module.parameters())


def test_masked_and_deleted_units_are_never_active_whatever_their_rows_say():
    module, h = units(), torch.randn(4, 50, 6)
    module.encoder_bias.data[[1, 4, 7]] = 1e3
    assert torch.isin(module(h).codes, torch.tensor([1, 4, 7])).any()
    module.live[[1, 4, 7]] = False
    for name in module.code_tensors:
        module.by_code(getattr(module, name).data)[[1, 4]] = 0
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert not torch.isin(module(h).codes, torch.tensor([1, 4, 7])).any()
    assert not torch.isin(module.rank(h.flatten(0, 1), 17)[0], torch.tensor([1, 4, 7])).any()
    module.live.fill_(False)
    output = module(h)
    assert (output.codes == -1).all()
    nothing = module.decoder_bias * module.scale + module.mean
    torch.testing.assert_close(output.reconstruction, nothing.expand_as(h))


def test_what_is_not_finite_is_passed_on_as_nothing_and_no_masked_unit_with_it():
    module, h = units(), torch.randn(1, 3, 6)
    module.live[:10] = False
    h[0, 0], h[0, 1] = float("nan"), float("inf")
    output = module(h)
    assert (output.codes[0, :2] == -1).all() and output.reconstruction[0].isfinite().all()


def test_a_forward_pass_leaves_every_buffer_and_weight_as_it_was():
    module = units(auxiliary_weight=0.1).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module(torch.randn(2, 5, 6)).loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_dtype_and_looks_units_up_in_fp32(dtype):
    module = units().to(dtype)
    h = torch.randn(2, 5, 6, dtype=dtype)
    output = module(h)
    assert output.reconstruction.dtype == dtype
    assert output.reconstruction_error.dtype == output.loss.dtype == torch.float32
    assert torch.equal(output.codes, module.float()(h.float()).codes)
    assert units().to(dtype)(h.float()).reconstruction.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(h.float()).codes, output.codes)


def test_it_saves_and_loads_alone_with_mask_and_thresholds(tmp_path):
    module = units(activation="jumprelu")
    module.threshold.uniform_()
    module.live[[0, 3]] = False
    module.save_pretrained(tmp_path)
    loaded, info = SparseUnits.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()) and loaded.code_tensors == module.code_tensors
    for name, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def planted(tokens: int = 3000, directions: int = 24, width: int = 12) -> torch.Tensor:
    """Activations that are two of some directions each, beside a mean."""
    generator = torch.Generator().manual_seed(1)
    atoms = F.normalize(torch.randn(directions, width, generator=generator), dim=1)
    places = torch.randint(directions, (tokens, 2), generator=generator)
    sizes = torch.rand(tokens, 2, 1, generator=generator) + 0.5
    return 5 * (atoms[places] * sizes).sum(1) + torch.arange(width)


def test_units_start_where_data_is_and_training_finds_what_it_is_made_of():
    data = planted()
    module = SparseUnits(SparseUnitsConfig(hidden_size=12, num_codes=64, active=3))
    module.start_from_data(data, torch.Generator().manual_seed(0))
    torch.testing.assert_close(module.mean, data.mean(0))
    torch.testing.assert_close(module.scale, (data - data.mean(0)).square().mean().sqrt())
    torch.testing.assert_close(module.decoder_weight.norm(dim=1), torch.ones(64))
    first = module(data[None]).reconstruction_error.mean().item()
    assert first < 0.8  # 1 would be the mean alone
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for step in range(150):
        optimizer.zero_grad()
        module(data[None, 100 * (step % 30) :][:, :100]).loss.backward()
        optimizer.step()
    assert module(data[None]).reconstruction_error.mean().item() < 0.5 * first


def test_a_few_tokens_a_hundred_deviations_away_move_neither_mean_nor_scale():
    data, module = planted(), SparseUnits(SparseUnitsConfig(hidden_size=12, num_codes=64, active=3))
    far = torch.cat([data, data.mean(0) + 500 * torch.eye(12)[:3].repeat(10, 1)])
    module.start_from_data(far, torch.Generator().manual_seed(0))
    torch.testing.assert_close(module.mean, data.mean(0))
    assert module(far[None]).reconstruction.isfinite().all()
    module.start_from_data(torch.ones(5, 12), torch.Generator().manual_seed(0))  # and what has no variance
    assert module(torch.ones(1, 5, 12)).reconstruction.isfinite().all()


def test_the_auxiliary_loss_moves_units_that_no_token_activates_and_is_in_no_loss():
    data = planted()[None, :4]
    found = {}
    for weight in (0.0, 1 / 32):
        torch.manual_seed(0)
        module = units(hidden_size=12, num_codes=40, active=1, auxiliary_weight=weight, auxiliary_units=8).train()
        output = module(data)
        output.loss.backward()
        used = torch.zeros(40, dtype=torch.bool)
        used[output.codes[output.codes >= 0]] = True
        found[weight] = output.loss.item(), module.decoder_weight.grad
    (without, none), (with_it, some) = found.values()
    assert with_it == without and not none[~used].any() and some[~used].any()
    torch.testing.assert_close(some[used], none[used])


def test_what_is_written_into_a_unit_is_measured_and_passed_on_by_it():
    module = units(active=1)
    vector = torch.randn(1, 6)
    module.write(torch.tensor([4]), vector)
    module.live.fill_(False)
    module.live[4] = True
    arrived = (3 * vector + module.decoder_bias) * module.scale + module.mean
    torch.testing.assert_close(module(arrived[None]).reconstruction[0], arrived)
    torch.testing.assert_close(module.explained(module.features(arrived), 1), 3 * vector)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_codes": 0}, "`num_codes` is 0"),
        ({"hidden_size": -1}, "`hidden_size` is -1"),
        ({"active": 0}, "`active` is 0"),
        ({"active": 9, "num_codes": 8}, "`active` is 9, more than the 8"),
        ({"auxiliary_units": 0}, "`auxiliary_units` is 0"),
        ({"l1_weight": -0.1}, "`l1_weight` is -0.1"),
        ({"auxiliary_weight": float("nan")}, "`auxiliary_weight` is nan"),
        ({"reconstruction_weight": float("inf")}, "`reconstruction_weight` is inf"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SparseUnitsConfig(**settings)


def test_settings_of_the_wrong_type_or_without_a_width_are_refused():
    for wrong in ({"active": "8"}, {"activation": "gelu"}):
        with pytest.raises(StrictDataclassError, match=next(iter(wrong))):
            SparseUnitsConfig(**wrong)
    with pytest.raises(ValueError, match="hidden_size"):
        SparseUnits(SparseUnitsConfig())
