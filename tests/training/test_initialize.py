"""Codes that start from data."""

import copy

import pytest
import torch
from datasets import Dataset

from excise import initialize_codes
from excise.bottlenecks.site import bottlenecks
from excise.models.activations import bottleneck_inputs
from tests.helpers.tiny import SITE, base_t5, codebook_t5, copying, mask_codes, tokenizer


def initialize(model, dataset=None, **settings) -> dict[str, float]:
    dataset = copying(64) if dataset is None else dataset
    return initialize_codes(model, dataset, tokenizer(), **{"progress": False, "steps": 0} | settings)


def activations(model, dataset=None) -> torch.Tensor:
    found = []
    for row in copying(64) if dataset is None else dataset:
        ids = torch.tensor([row["input_ids"]])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        found.append(bottleneck_inputs(model, batch)[SITE][0])
    return torch.cat(found)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(model, before):
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_mean_and_scale_are_those_of_the_activations_of_every_token_that_is_no_padding():
    model = codebook_t5()
    h = activations(model)
    initialize(model)
    module = bottlenecks(model)[SITE]
    torch.testing.assert_close(module.mean, h.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.scale, (h - h.mean(0)).square().mean().sqrt(), rtol=1e-4, atol=1e-5)


def test_the_papers_raw_form_keeps_activations_as_they_are():
    model = codebook_t5(standardize=False)
    module = bottlenecks(model)[SITE]
    module.mean.zero_()
    module.scale.fill_(1)
    initialize(model)
    assert not module.mean.any() and module.scale == 1


def test_codes_are_near_encoded_tokens_divided_by_s():
    model = codebook_t5()
    initialize(model)
    module = bottlenecks(model)[SITE]
    features = module.encode(activations(model))
    nearest = torch.cdist(module.codebook * module.config.top_s, features).min(1).values
    assert nearest.max() < 0.3 * torch.cdist(features, features).max()
    assert len(module.codebook.unique(dim=0)) == len(module.codebook)


def test_a_similarity_that_was_measured_with_other_codes_is_forgotten():
    model = codebook_t5()
    bottlenecks(model)[SITE].min_similarity.fill_(0.5)
    initialize(model)
    assert bottlenecks(model)[SITE].min_similarity == -1


def test_a_few_steps_lower_the_error_that_is_reported():
    dataset, first, later = copying(64), codebook_t5(), codebook_t5()
    later.load_state_dict(first.state_dict())
    few = initialize(first, dataset, steps=2)
    many = initialize(later, dataset, steps=80)
    assert many[SITE] < 0.8 * few[SITE]


def test_nothing_but_the_bottleneck_changes_and_nothing_keeps_a_gradient():
    model = codebook_t5(layers=(1, 2)).train()
    bottlenecks(model)[SITE].decoder.bias.requires_grad_(False)
    before = weights(model)
    initialize(model, steps=3)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(".bottleneck." in name for name in changed)
    assert {name.split(".bottleneck.")[0] for name in changed} == {f"encoder.block.{i}.layer.0" for i in (1, 2)}
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "encoder.block.2.layer.0.bottleneck.decoder.bias"
    ]


def test_a_later_site_is_measured_behind_the_earlier_ones_new_codes():
    model = codebook_t5(layers=(1, 2))
    initialize(model, steps=3)
    h = activations(model)
    torch.testing.assert_close(bottlenecks(model)[SITE].mean, h.mean(0), rtol=1e-4, atol=1e-5)


def test_the_seed_decides():
    start, codes = codebook_t5(), []
    for seed in (0, 0, 1):
        model = copy.deepcopy(start)
        initialize(model, steps=2, seed=seed)
        codes.append(bottlenecks(model)[SITE].codebook)
    assert torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])


def test_text_is_tokenized_where_there_are_no_ids():
    model = codebook_t5()
    other = copy.deepcopy(model)
    texts, words = ["the cat sat", "the teacher ran", "a dog"] * 3, tokenizer()
    initialize(model, Dataset.from_dict({"en": texts}), text="en")
    initialize(other, Dataset.from_dict({"input_ids": words(texts)["input_ids"]}))
    assert_unchanged(model, weights(other))


def test_no_more_tokens_than_asked_for_are_used():
    # All tokens of the rows that are needed are one and the same: of one token, mean is the token and scale is 0.
    model = codebook_t5()
    initialize(model, copying(1), max_tokens=1)
    h = activations(model, copying(1))
    assert (h - bottlenecks(model)[SITE].mean).abs().amax(1).min() < 1e-5
    assert bottlenecks(model)[SITE].scale < 1e-6


@pytest.mark.parametrize(
    ("dataset", "message"),
    [({"input_ids": []}, "empty"), ({"words": ["the cat"]}, r"its columns are \['words'\]")],
    ids=["empty", "no text"],
)
def test_a_data_set_without_texts_is_refused(dataset, message):
    model = codebook_t5()
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        initialize(model, Dataset.from_dict(dataset))
    assert_unchanged(model, before)


@pytest.mark.parametrize("layer", [0, 1])
def test_activations_that_are_not_finite_are_refused_and_leave_every_site_as_it_was(layer):
    model = codebook_t5(layers=(1, 2))
    model.encoder.block[layer].layer[-1].DenseReluDense.wo.weight.data[0] = float("nan")
    before = weights(model)
    with pytest.raises(ValueError, match=f"encoder.block.{layer + 1} are not finite"):
        initialize(model)
    for site, module in bottlenecks(model).items():
        for name, value in module.state_dict().items():
            assert torch.equal(value, before[f"{site}.layer.0.bottleneck.{name}"]), (site, name)


def test_a_model_that_has_forgotten_something_is_refused():
    model = codebook_t5()
    mask_codes(model)
    before = weights(model)
    with pytest.raises(ValueError, match="ledger"):
        initialize(model)
    assert_unchanged(model, before)


def test_a_model_without_a_bottleneck_is_refused():
    with pytest.raises(ValueError, match="has no bottleneck"):
        initialize(base_t5())


def test_a_bf16_model_is_initialised_about_as_well_as_an_fp32_one():
    model = codebook_t5()
    half = copy.deepcopy(model).to(torch.bfloat16)
    # Steps so small that bf16 weights would not feel them.
    expected, error = (initialize(each, steps=100, learning_rate=5e-4)[SITE] for each in (model, half))
    assert half.dtype == bottlenecks(half)[SITE].codebook.dtype == torch.bfloat16
    assert error < 1.1 * expected
