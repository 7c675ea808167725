"""Bottlenecks attached to models of many families: the base stays as it is, and what works there works on."""

import copy
import pickle

import pytest
import torch

from excise.bottlenecks.site import bottlenecks, left_out
from excise.models.attached import attach, detach
from tests.helpers.families import FAMILIES

SIZES = {"num_codes": 24, "code_dim": 32, "active": 4, "top_s": 3}
each = pytest.mark.parametrize("family", FAMILIES)


def attached(family, **arguments):
    return attach(FAMILIES[family].make(), **{"layers": [1]} | SIZES | arguments)


def outputs(model, batch):
    with torch.no_grad():
        return model(**batch)


def main(output):
    return next(output[name] for name in ("logits", "logits_per_image", "last_hidden_state") if name in output)


@each
def test_a_base_keeps_its_weights_and_names_and_comes_back_bit_for_bit(family):
    tiny = FAMILIES[family]
    plain, batch = tiny.make(), tiny.batch()
    before, state = outputs(plain, batch), {k: v.clone() for k, v in plain.state_dict().items()}
    kind, settings = type(plain), plain.config.to_dict()
    model = attach(plain, layers=[1], **SIZES)
    assert model is plain and isinstance(model, kind)
    own = {k: v for k, v in model.state_dict().items() if ".bottleneck." not in f".{k}"}
    assert own.keys() == state.keys() and all(torch.equal(own[k], state[k]) for k in own)
    after = outputs(model, batch)
    assert not torch.equal(main(after), main(before)), "the bottleneck does nothing"
    assert after.codes is not None
    with left_out(model):
        assert torch.equal(main(outputs(model, batch)), main(before))
    assert detach(model) is model and type(model) is kind and model.config.to_dict() == settings
    assert torch.equal(main(outputs(model, batch)), main(before))
    assert model.state_dict().keys() == state.keys()


@each
def test_nothing_before_a_bottleneck_moves_the_output_when_what_it_puts_out_is_held(family):
    model, batch = attached(family), FAMILIES[family].batch()
    site, bottleneck = next(iter(bottlenecks(model).items()))

    def hold(_, __, output):
        some = torch.linspace(-1, 1, output.reconstruction.numel()).view_as(output.reconstruction).sin()
        return type(output)(**{**output, "reconstruction": some})

    held = bottleneck.register_forward_hook(hold)
    first = main(outputs(model, batch))
    layer = model.base_model.get_submodule(site)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if "bottleneck" not in name:
                weight.add_(1.0)
    assert torch.equal(main(outputs(model, batch)), first)
    held.remove()


@each
def test_the_joint_loss_trains_codes_and_base(family):
    model, batch = attached(family).train(), FAMILIES[family].batch()
    output = model(**batch)
    assert output.loss > output.task_loss
    output.loss.backward()
    assert all(b.codebook.grad.abs().sum() > 0 for b in bottlenecks(model).values())


@each
def test_it_is_copied_and_pickled(family):
    model, batch = attached(family), FAMILIES[family].batch()
    expected = main(outputs(model, batch))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model)
        assert torch.equal(main(outputs(other, batch)), expected)
