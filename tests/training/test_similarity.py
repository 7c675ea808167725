"""The least similarity at which a token is passed on."""

import pytest
import torch
from datasets import Dataset

from excise import Unlearner, set_min_similarity
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.models.activations import bottleneck_inputs
from tests.helpers.tiny import SITE, codebook_t5, copying, tokenizer


def measure(model, dataset=None, **settings):
    dataset = copying(64) if dataset is None else dataset
    return set_min_similarity(model, dataset, tokenizer(), **{"progress": False} | settings)


def silent(model, site=SITE) -> float:
    """Share of the tokens that are passed on as nothing."""
    chosen = []
    for row in copying(64):
        ids = torch.tensor([row["input_ids"]])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        module = bottlenecks(model)[site]
        chosen.append(module.selected(bottleneck_inputs(model, batch)[site])[0].view(-1, module.top_s))
    return (torch.cat(chosen) < 0).all(1).float().mean().item()


@pytest.mark.parametrize("quantile", [0.0, 0.05, 0.5])
def test_a_share_of_the_tokens_is_passed_on_as_nothing(quantile):
    model = codebook_t5()
    least = measure(model, quantile=quantile)
    assert least == {SITE: bottlenecks(model)[SITE].min_similarity.item()}
    assert silent(model) == pytest.approx(quantile, abs=0.02)


def test_measuring_again_gives_the_same():
    model = codebook_t5()
    assert measure(model, quantile=0.3) == measure(model, quantile=0.3, batch_tokens=7)


def test_nothing_else_changes():
    model = codebook_t5()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure(model)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == [f"{SITE}.layer.0.bottleneck.min_similarity"]


def test_a_token_is_silent_when_its_similar_codes_are_gone():
    model = codebook_t5()
    measure(model)
    ids = torch.tensor([[5, 7, 1]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    module = bottlenecks(model)[SITE]
    arrived = bottleneck_inputs(model, batch)[SITE]
    codes, cosines = (found[0, 0] for found in module.most_similar(arrived, len(module.live)))
    similar = cosines >= module.min_similarity
    assert 0 < similar.sum() < len(module.live)
    Unlearner(model, tokenizer()).mask(Selection({SITE: codes[similar].tolist()}), "topic")
    codes = model(**batch, labels=ids).codes[SITE][0]
    assert (codes[0] == -1).all() and (codes[1] >= 0).any()


def test_a_later_site_is_measured_behind_the_earlier_one():
    both, later = codebook_t5(layers=(0, 2)), codebook_t5(layers=(0, 2))
    later.load_state_dict(both.state_dict())
    first = "encoder.block.0"
    least = measure(both, quantile=0.5)
    bottlenecks(later)[first].min_similarity.fill_(least[first])
    assert silent(both) == pytest.approx(0.5, abs=0.02)
    assert silent(both, first) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("quantile", [-0.1, 1.0, float("nan")])
def test_a_quantile_that_is_none_is_refused(quantile):
    with pytest.raises(ValueError, match="quantile"):
        measure(codebook_t5(), quantile=quantile)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="empty"):
        measure(codebook_t5(), Dataset.from_dict({"input_ids": []}))


def test_a_model_that_has_forgotten_something_is_refused():
    model = codebook_t5()
    Unlearner(model, tokenizer()).mask(Selection({SITE: [3]}), "topic")
    with pytest.raises(ValueError, match="ledger"):
        measure(model)


def test_a_failure_leaves_every_site_as_it_was():
    model = codebook_t5(layers=(0, 2))
    model.encoder.block[1].layer[1].DenseReluDense.wo.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        measure(model)
    for module in bottlenecks(model).values():
        assert module.min_similarity.item() == pytest.approx(-0.9)
