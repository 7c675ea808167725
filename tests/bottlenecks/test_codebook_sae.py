"""The bottleneck alone: the paper's equations, its gradients, its padding, its settings."""

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE
from excise.bottlenecks.codebook_sae.bottleneck import straight_through
from excise.bottlenecks.codebook_sae.lookup import top_codes


def bottleneck(**settings) -> CodebookSAE:
    module = CodebookSAE(CodebookSAEConfig(**{"hidden_size": 6, "num_codes": 20, "top_s": 3} | settings))
    module.mean.copy_(torch.linspace(-1, 1, module.config.hidden_size))
    module.scale.fill_(2.0)
    return module


def test_a_forward_pass_is_the_papers_equations_written_out():
    module = bottleneck(code_dim=5, l1_weight=0.01, reconstruction_weight=0.5)
    h = torch.randn(2, 4, 6)
    x = (h - module.mean) / 2
    encoded = torch.relu(x @ module.encoder.weight.T + module.encoder.bias)
    features = F.layer_norm(encoded, (5,), module.layer_norm.weight, module.layer_norm.bias, 1e-5)  # eq. 4
    cosine = F.normalize(features, dim=-1) @ F.normalize(module.codebook, dim=-1).T  # eq. 1
    chosen = cosine.topk(3).indices  # eq. 2
    summed = module.codebook[chosen].sum(-2)  # eq. 3
    decoded = (summed @ module.decoder.weight.T + module.decoder.bias) * 2 + module.mean  # eq. 5
    output = module(h)
    assert torch.equal(output.codes, chosen)
    torch.testing.assert_close(output.reconstruction, decoded)
    torch.testing.assert_close(output.reconstruction_error, (h - decoded).square().mean(-1) / 4)  # eq. 6 over variance
    torch.testing.assert_close(output.l1, module.codebook[chosen].abs().sum((-1, -2)))
    expected = 0.5 * output.reconstruction_error.mean() + 0.01 * output.l1.mean()  # eq. 7
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("active", [1, 3, 12, 50])
def test_the_largest_units_alone_stay_active(active):
    module, h = bottleneck(code_dim=12, active=active), torch.randn(2, 4, 6)
    units = torch.relu(module.encoder((h - module.mean) / 2))
    ranks = units.argsort(dim=-1, descending=True).argsort(dim=-1)
    kept = torch.where(ranks < active, units, 0)
    torch.testing.assert_close(module.encode(h), module.layer_norm(kept))


def test_the_raw_loss_is_the_papers_squared_error():
    module, h = bottleneck(standardize=False), torch.randn(2, 4, 6)
    output = module(h)
    torch.testing.assert_close(output.reconstruction_error, (h - output.reconstruction).square().sum(-1))


def test_predicting_the_mean_of_the_data_leaves_all_its_variance_unexplained():
    h = torch.randn(1, 500, 6) * torch.tensor([1.0, 5, 20, 0.1, 3, 3]) + 100
    module = bottleneck()
    module.mean.copy_(h.mean((0, 1)))
    module.scale.copy_((h - module.mean).square().mean().sqrt())
    module.decoder.weight.data.zero_()
    output = module(h)
    torch.testing.assert_close(output.reconstruction, module.mean.expand_as(h))
    torch.testing.assert_close(output.reconstruction_error.mean(), torch.tensor(1.0))


def test_only_selected_codes_get_a_gradient_and_the_encoder_gets_one_straight_through():
    module, h = bottleneck(num_codes=200), torch.randn(1, 3, 6)
    output = module(h)
    output.reconstruction.square().sum().backward()
    rows = module.codebook.grad.abs().sum(1).nonzero().flatten()
    assert rows.tolist() == output.codes.unique().tolist()
    assert all(p.grad.abs().sum() > 0 for p in (module.encoder.weight, module.encoder.bias, module.layer_norm.weight))


def test_the_gradient_before_the_bottleneck_is_that_of_an_identity_in_place_of_the_selection():
    module = bottleneck()
    h = torch.randn(1, 4, 6, requires_grad=True)
    weight = torch.randn(1, 4, 6)
    (module(h).reconstruction * weight).sum().backward()
    other = h.detach().clone().requires_grad_()
    (module.decoder(module.encode(other)) * 2 * weight).sum().backward()
    torch.testing.assert_close(h.grad, other.grad)


def test_the_target_passes_a_gradient_back_unless_it_is_detached():
    def gradient(detach):
        torch.manual_seed(0)
        module = bottleneck(detach_target=detach, l1_weight=0)
        module.encoder.weight.data.zero_()  # so that nothing comes back through the bottleneck itself
        h = torch.randn(1, 4, 6, requires_grad=True)
        module(h).loss.backward()
        return h.grad.abs().sum()

    assert gradient(False) > 0 and gradient(True) == 0


def test_padding_has_code_minus_one_counts_in_no_loss_and_changes_no_other_token():
    module, h = bottleneck(), torch.randn(2, 5, 6)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]])
    output, without = module(h, attention_mask=mask), module(h)
    for name in ("reconstruction_error", "l1"):
        assert not output[name][mask == 0].any()
        assert torch.equal(output[name][mask == 1], without[name][mask == 1])
    assert (output.codes[mask == 0] == -1).all()
    assert torch.equal(output.codes[mask == 1], without.codes[mask == 1])
    torch.testing.assert_close(output.loss, module(h[mask == 1][None]).loss)
    assert torch.equal(module(h, attention_mask=mask.bool()).loss, output.loss)
    changed = h.masked_fill(mask[..., None] == 0, 1e3)
    torch.testing.assert_close(module(changed, attention_mask=mask).loss, output.loss)


def test_nothing_but_padding_has_loss_zero():
    module = bottleneck()
    loss = module(torch.randn(2, 5, 6), attention_mask=torch.zeros(2, 5, dtype=torch.long)).loss
    loss.backward()
    assert loss == 0 and all(p.grad.isfinite().all() for p in module.parameters())


def test_masked_and_deleted_codes_are_never_selected():
    module, h = bottleneck(), torch.randn(4, 50, 6)
    module.live[[1, 4, 7]] = False
    module.codebook.data[[1, 4]] = 0
    codes = module(h).codes
    assert not torch.isin(codes, torch.tensor([1, 4, 7])).any()
    module.live.fill_(False)
    module.live[[2, 9, 11]] = True
    assert set(module(h).codes.unique().tolist()) == {2, 9, 11}


def test_a_token_that_no_code_is_similar_to_is_passed_on_as_nothing():
    module, h = bottleneck(l1_weight=0.5), torch.randn(2, 4, 6)
    codes = module(h).codes
    best = F.cosine_similarity(module.encode(h), module.codebook[codes[..., 0]], dim=-1)
    module.min_similarity.copy_(best.median() + 1e-6)
    output = module(h)
    silent = best < module.min_similarity
    assert 0 < silent.sum() < silent.numel()
    assert (output.codes[silent] == -1).all() and torch.equal(output.codes[~silent], codes[~silent])
    nothing = module.decoder.bias * 2 + module.mean
    torch.testing.assert_close(output.reconstruction[silent], nothing.expand(int(silent.sum()), -1))
    assert not output.l1[silent].any() and output.reconstruction_error[silent].all()
    assert not torch.allclose(output.reconstruction[~silent], nothing)


def test_a_forward_pass_leaves_every_buffer_and_weight_as_it_was():
    module = bottleneck().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module(torch.randn(2, 5, 6)).loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_large_residual_stream_does_not_swamp_the_loss():
    # The same data in other units has the same loss: 227 is a standard deviation seen in a Flan-T5.
    module, h = bottleneck(), torch.randn(2, 30, 6)
    expected = module(h).reconstruction_error
    module.mean.mul_(227)
    module.scale.mul_(227)
    torch.testing.assert_close(module(h * 227).reconstruction_error, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_dtype_and_selects_by_fp32_similarity(dtype):
    module = bottleneck().to(dtype)
    h = torch.randn(2, 5, 6, dtype=dtype)
    output = module(h)
    assert output.reconstruction.dtype == dtype
    assert output.reconstruction_error.dtype == output.loss.dtype == torch.float32
    features = module.encode(h).float().flatten(0, 1)
    expected, _ = top_codes(features, module.codebook.float(), 3, module.live)
    assert torch.equal(output.codes.flatten(0, 1), expected)


def test_an_fp32_activation_may_reach_a_half_precision_bottleneck():
    output = bottleneck().to(torch.bfloat16)(torch.randn(2, 5, 6))
    assert output.reconstruction.dtype == torch.float32


def test_it_saves_and_loads_alone_with_its_mask(tmp_path):
    module = bottleneck()
    module.live[[0, 3]] = False
    module.save_pretrained(tmp_path)
    loaded, info = CodebookSAE.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    for name, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_new_weights_are_spread_as_their_layers_want():
    module = CodebookSAE(CodebookSAEConfig(hidden_size=64, num_codes=500, top_s=4))
    bound = (6 / 64) ** 0.5  # Kaiming uniform before a ReLU
    assert bound * 0.95 < module.encoder.weight.abs().max() <= bound
    summed = module.codebook[:400].unflatten(0, (100, 4)).sum(1)
    assert summed.std().item() == pytest.approx(1, rel=0.1)  # the layer norm's own scale
    assert module.live.all() and not module.mean.any() and module.scale == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_codes": 0}, "`num_codes` is 0"),
        ({"hidden_size": -1}, "`hidden_size` is -1"),
        ({"code_dim": 0}, "`code_dim` is 0"),
        ({"top_s": 0}, "`top_s` is 0"),
        ({"top_s": 9, "num_codes": 8}, "`top_s` is 9, more than the 8"),
        ({"l1_weight": -0.1}, "`l1_weight` is -0.1"),
        ({"active": 0}, "`active` is 0"),
        ({"reconstruction_weight": float("nan")}, "`reconstruction_weight` is nan"),
        ({"reconstruction_weight": float("inf")}, "`reconstruction_weight` is inf"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CodebookSAEConfig(**settings)


def test_a_setting_of_the_wrong_type_is_refused():
    with pytest.raises(StrictDataclassError, match="top_s"):
        CodebookSAEConfig(top_s="8")


def test_a_width_must_be_known():
    with pytest.raises(ValueError, match="hidden_size"):
        CodebookSAE(CodebookSAEConfig())


def test_the_value_passes_and_both_sides_get_its_gradient_unchanged():
    value, source = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    weight = torch.randn(3, 4)
    passed = straight_through(value, source)
    torch.testing.assert_close(passed, value)
    (passed * weight).sum().backward()
    torch.testing.assert_close(value.grad, weight)
    torch.testing.assert_close(source.grad, weight)
