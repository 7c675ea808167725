"""What arrives at the bottlenecks."""

import pytest
import torch

from excise.bottlenecks.site import bottlenecks
from excise.models.activations import bottleneck_inputs
from tests.helpers.tiny import SITE, base_t5, batch, codebook_t5


def inputs() -> dict[str, torch.Tensor]:
    return {key: value for key, value in batch().items() if key != "labels"}


def test_the_activations_are_those_that_the_whole_encoder_gives_its_bottlenecks():
    model, expected = codebook_t5(layers=(0, 2)), {}
    for site, module in bottlenecks(model).items():
        module.register_forward_pre_hook(lambda module, args, site=site: expected.update({site: args[0]}))
    model(**batch())
    found = bottleneck_inputs(model, inputs())
    assert list(found) == list(expected) == ["encoder.block.0", SITE]
    for site, value in found.items():
        torch.testing.assert_close(value, expected[site])
        assert not value.requires_grad


def test_nothing_after_the_last_wanted_bottleneck_runs():
    model, ran = codebook_t5(layers=(0, 2)), []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: ran.append(name))
    found = bottleneck_inputs(model, inputs(), until="encoder.block.0")
    assert list(found) == ["encoder.block.0"]
    assert "encoder.block.0.layer.0.SelfAttention" in ran
    assert not any("bottleneck" in name or "block.1" in name or "decoder" in name for name in ran)


def test_no_hook_stays_whether_it_works_or_fails():
    model = codebook_t5()
    guards = [len(module._forward_pre_hooks) for module in bottlenecks(model).values()]
    bottleneck_inputs(model, inputs())
    model.shared.weight.data[5:] = float("nan")
    with pytest.raises(ValueError, match=r"encoder.block.2 are not finite .* in 13 tokens"):
        bottleneck_inputs(model, inputs())
    assert [len(module._forward_pre_hooks) for module in bottlenecks(model).values()] == guards


def test_a_model_without_a_bottleneck_is_refused():
    with pytest.raises(ValueError, match=r"T5ForConditionalGeneration has no bottleneck"):
        bottleneck_inputs(base_t5(), inputs())
