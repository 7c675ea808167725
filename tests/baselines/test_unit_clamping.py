"""Clamping of sparse units: which are chosen, what they are set to, and in which texts."""

import copy

import pytest
import torch

from excise import CodebookSAEConfig, SparseUnitsConfig, attach
from excise.baselines import clamp_units
from excise.baselines.answers.answer_pairs import answer_rows, padded
from excise.baselines.unit_clamping import chosen_units, unit_inputs
from excise.bottlenecks.site import bottlenecks
from tests.baselines.test_every_baseline import same


@pytest.fixture(scope="module")
def model(make_decoder):
    torch.manual_seed(0)
    return attach(make_decoder(), SparseUnitsConfig(num_codes=64, active=6), layers=[0]).eval()


@pytest.fixture(scope="module")
def run(model, chat_tokenizer, tofu_rows):
    """Clamps units of two rows, against the six others."""

    def clamped(**options):
        return clamp_units(model, tofu_rows[:2], tofu_rows[2:], tokenizer=chat_tokenizer, **{"count": 4} | options)

    return clamped


@pytest.fixture(scope="module")
def batch(chat_tokenizer, tofu_rows):
    whole = padded(answer_rows([*tofu_rows[:2], *tofu_rows[6:]], chat_tokenizer, None, "rows"), 0)
    return {name: whole[name] for name in ("input_ids", "attention_mask")}


@torch.no_grad()
def passed_on(model, batch):
    """What arrives at the bottleneck, what is passed on, and the active units."""
    (bottleneck,) = bottlenecks(model).values()
    kept = []
    handle = bottleneck.register_forward_hook(
        lambda module, inputs, output: kept.append((inputs[0], output.reconstruction.clone(), output.codes))
    )
    model(**batch)
    handle.remove()
    return kept[0]


def test_an_active_unit_is_set_to_its_value_and_all_else_is_passed_on(model, run, batch):
    clamped = run(dynamic=False, strength=3.0)
    ((site, units),) = clamped.units.items()
    assert 0 < len(units) <= 4 and clamped.thresholds[site] is None
    arrived, before, codes = passed_on(model, batch)
    _, after, _ = passed_on(clamped.model, batch)
    bottleneck = bottlenecks(model)[site]
    hook = next(iter(bottlenecks(clamped.model)[site]._forward_hooks.values()))
    wanted = before.clone()
    for place, unit in enumerate(units):
        active = (codes == unit).any(-1)
        assert hook.values[place] < 0
        value = unit_inputs(bottleneck, arrived, torch.tensor([unit]))[..., 0]
        change = torch.where(active, hook.values[place].float() - value, 0.0)
        wanted += change[..., None] * bottleneck.decoder_weight[unit] * bottleneck.scale
    torch.testing.assert_close(after, wanted.detach())
    assert not torch.equal(after, before)


def test_texts_below_the_threshold_are_left_as_they_are(model, run, batch):
    clamped = run(text_percentile=50.0)
    ((site, units),) = clamped.units.items()
    _, before, codes = passed_on(model, batch)
    _, after, _ = passed_on(clamped.model, batch)
    told = torch.isin(codes, torch.tensor(units)).any(-1)
    real = batch["attention_mask"].bool()
    real = real & (real.cumsum(1) > 1)  # the first token is passed on as a constant
    share = (told & real).sum(1) / real.sum(1)
    above = share > clamped.thresholds[site]
    changed = (after != before).any(-1)
    assert above.any() and not above.all()
    assert torch.equal(changed, told & above[:, None])


def test_what_no_unit_says_is_passed_on_with_the_error_term(model, run, batch):
    arrived, before, _ = passed_on(model, batch)
    _, after, _ = passed_on(run(dynamic=False).model, batch)
    _, with_error, _ = passed_on(run(dynamic=False, error_term=True).model, batch)
    torch.testing.assert_close(with_error - arrived, after - before, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_tokens_that_go_on_from_a_cache_go_by_their_prompt(run, batch):
    clamped = run(text_percentile=0.0).model
    ids = batch["input_ids"][:1, : int(batch["attention_mask"][0].sum())]
    prompt = clamped(ids[:, :-2], use_cache=True)
    (site,) = bottlenecks(clamped)
    hook = next(iter(bottlenecks(clamped)[site]._forward_hooks.values()))
    decided = hook.texts.clone()
    clamped(ids[:, -2:-1], past_key_values=prompt.past_key_values, use_cache=True)
    assert torch.equal(hook.texts, decided)
    with pytest.raises(ValueError, match="2 texts go on from a cache, and 3 were read first"):
        hook.texts = decided.repeat(3)
        prompt.past_key_values.batch_repeat_interleave(2)
        clamped(ids[:, -1:].repeat(2, 1), past_key_values=prompt.past_key_values)


def test_the_model_stays_as_it_was_and_the_copy_can_be_copied(model, run, batch):
    before = copy.deepcopy(model)
    clamped = run()
    assert same(model, before) and not model._forward_pre_hooks
    assert all(not one._forward_hooks for one in bottlenecks(model).values())
    again = copy.deepcopy(clamped.model)
    torch.testing.assert_close(passed_on(again, batch)[1], passed_on(clamped.model, batch)[1])
    assert clamped.seconds > 0


def test_units_of_what_stays_are_not_chosen():
    forget, retain = torch.tensor([4.0, 9.0, 0.0, 5.0, 1.0]), torch.tensor([0.0, 9.0, 1.0, 0.1, 2.0])
    assert chosen_units(forget, retain, 5, 0.0).tolist() == [3, 0]
    assert chosen_units(forget, retain, 1, 0.0).tolist() == [3]
    assert chosen_units(torch.zeros(3), retain[:3], 5, 0.0).tolist() == []


REFUSED = {
    "no units": ({"count": 0}, "expected at least one unit"),
    "a strength that lifts": ({"strength": -1.0}, "a strength above 0"),
    "a percentile that is none": ({"ratio_percentile": 101.0}, "ratio_percentile=101.0: expected a percentile"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_does_not_take(run, what):
    options, match = REFUSED[what]
    with pytest.raises(ValueError, match=match):
        run(**options)


def test_a_model_without_sparse_units_is_refused(make_decoder, chat_tokenizer, tofu_rows):
    model = attach(make_decoder(), CodebookSAEConfig(num_codes=16, top_s=2, code_dim=16, active=None), layers=[0])
    for wrong, match in ((model, "has no sparse units"), (make_decoder(), "no bottleneck|has no")):
        with pytest.raises(ValueError, match=match):
            clamp_units(wrong, tofu_rows[:2], tofu_rows[2:], tokenizer=chat_tokenizer)
