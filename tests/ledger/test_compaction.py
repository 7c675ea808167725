import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForSeq2SeqLM

from excise import (
    CodebookT5ForConditionalGeneration,
    PairCounts,
    Selection,
    SparseUnitsConfig,
    Unlearner,
    encode_images,
    select_pairs,
)
from excise.codes.selection import SITE, by_activations
from excise.models import CodebookT5Config
from tests.helpers.tiny import T5, batch, codebook_t5
from tests.helpers.tiny_images import image_batch, images, key_value_model, processor

T5_SITES = ("encoder.block.0", "encoder.block.2")


def t5():
    model = codebook_t5(layers=(0, 2))
    unlearner = Unlearner(model, None)
    unlearner.delete(Selection({T5_SITES[0]: range(5, 15), T5_SITES[1]: range(6)}), "first")
    mask = unlearner.mask(Selection({T5_SITES[0]: [1, 20]}), "second")
    return unlearner, mask, batch(), AutoModelForSeq2SeqLM


def sparse_units():
    config = CodebookT5Config(
        **T5, bottleneck=SparseUnitsConfig(num_codes=40, active=4, activation="jumprelu"), bottleneck_layers=[0, 2]
    )
    unlearner = Unlearner(CodebookT5ForConditionalGeneration(config).eval(), None)
    unlearner.delete(Selection({T5_SITES[0]: range(5, 15), T5_SITES[1]: range(6)}), "first")
    mask = unlearner.mask(Selection({T5_SITES[0]: [1, 20]}), "second")
    return unlearner, mask, batch(), AutoModelForSeq2SeqLM


def key_value():
    model = key_value_model()
    unlearner = Unlearner(model, None)
    unlearner.delete(Selection({SITE: [64 * c + m for c in range(6) for m in range(5, 25 + 3 * c)]}), "first")
    mask = unlearner.mask(Selection({SITE: [1, 40, 130]}), "second")
    return unlearner, mask, image_batch(), AutoModelForImageClassification


@pytest.fixture(params=[t5, sparse_units, key_value], ids=["codebook", "sparse units", "key-value"])
def case(request):
    return request.param()


def test_the_model_computes_the_same_and_is_smaller(case, tmp_path):
    unlearner, _, inputs, auto = case
    model = unlearner.model
    expected, size = model(**inputs), sum(p.numel() for p in model.parameters())
    index = unlearner.compact()
    found = model(**inputs)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)
    torch.testing.assert_close(found.loss, expected.loss)
    assert sum(p.numel() for p in model.parameters()) < size
    model.save_pretrained(tmp_path)
    loaded = auto.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(**inputs).logits, expected.logits, rtol=0, atol=0)
    for site, numbers in index.items():
        assert sorted(numbers[numbers >= 0].tolist()) == list(range(unlearner.sites[site].num_codes))


def test_a_mask_can_still_be_undone_and_deletions_stay_in_the_ledger(case):
    unlearner, mask, inputs, _ = case
    other = Unlearner(copy.deepcopy(unlearner.model), None)
    other.undo(mask)
    expected = other.model(**inputs).logits
    index = unlearner.compact()
    first, second = unlearner.ledger.requests
    for site, codes in mask.codes.items():
        assert second.codes[site] == tuple(index[site][list(codes)].tolist())
    left = sum(len(ids) for ids in first.codes.values())
    assert first.kind == "delete" and first.thresholds["taken_out"] + left == other.ledger.requests[0].num_codes
    unlearner.undo(second)
    torch.testing.assert_close(unlearner.model(**inputs).logits, expected, rtol=0, atol=0)


def test_codebooks_stay_of_one_size_and_what_fills_them_is_erased(case):
    unlearner = case[0]
    most = {"CodebookT5ForConditionalGeneration": 40 - 6, "KeyValueForImageClassification": 64 - 20}
    unlearner.compact()
    for site, bottleneck in unlearner.sites.items():
        size = bottleneck.num_codes // bottleneck.num_groups
        assert size == most[type(unlearner.model).__name__]
        erased = unlearner.ledger.removed(site, kinds=("delete",))
        for name in bottleneck.code_tensors:
            assert not bottleneck.by_code(getattr(bottleneck, name))[erased].any()


def test_where_nothing_can_be_taken_out_nothing_changes(case):
    unlearner = case[0]
    unlearner.compact()
    before = copy.deepcopy(unlearner.model.state_dict()), copy.deepcopy(unlearner.model.config.to_dict())
    index = unlearner.compact()
    assert all(torch.equal(numbers, torch.arange(len(numbers))) for numbers in index.values())
    after = unlearner.model.state_dict(), unlearner.model.config.to_dict()
    assert after[1] == before[1] and all(torch.equal(after[0][key], before[0][key]) for key in before[0])


def test_counts_are_renumbered_and_those_of_old_numbers_are_refused(tmp_path):
    model = key_value_model()
    options = {"cache_dir": tmp_path, "progress": False}
    encodings = encode_images(model, images(40), processor(), **options)
    counts = PairCounts.count(select_pairs(model, encodings, **options), model.bottleneck)
    unlearner = Unlearner(model, processor())
    unused = np.flatnonzero(counts.of_all() == 0)
    unlearner.delete(Selection({SITE: unused}), "what nothing uses")
    kept = by_activations({SITE: counts.of_class(1)}, 10).codes[SITE]
    index = unlearner.compact()[SITE]
    fresh = PairCounts.count(select_pairs(model, encodings, **options), model.bottleneck)
    renumbered = counts.renumbered(index.numpy(), model.bottleneck)
    assert (fresh.table != renumbered.table).nnz == 0
    assert by_activations({SITE: renumbered.of_class(1)}, 10).codes[SITE] == tuple(index[list(kept)].tolist())
    with pytest.raises(ValueError, match="do not add up"):
        counts + fresh


def test_a_bottleneck_with_one_codebook_and_a_second_compaction():
    model = key_value_model(num_codebooks=1)
    unlearner, inputs = Unlearner(model, None), image_batch()
    unlearner.delete(Selection({SITE: range(20)}), "first")
    expected = model(**inputs).logits
    for removed in (range(0), range(30, 35)):
        if removed:
            unlearner.delete(Selection({SITE: removed}), "second")
            expected = model(**inputs).logits
        unlearner.compact()
        assert model.bottleneck.keys.shape == (1, 44 - len(removed), 4)
        torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=0)
    assert [request.thresholds["taken_out"] for request in unlearner.ledger.requests] == [20, 5]


def test_codes_that_two_compactions_take_out_are_all_told():
    unlearner = Unlearner(key_value_model(num_codebooks=2), None)
    unlearner.delete(Selection({SITE: [*range(30), *range(64, 89)]}), "first")
    unlearner.compact()
    first = unlearner.ledger.requests[0].thresholds["taken_out"]
    unlearner.delete(Selection({SITE: range(60, 68)}), "second")
    unlearner.compact()
    request = unlearner.ledger.requests[0]
    assert first == 50 and request.thresholds["taken_out"] + request.num_codes == 55


def test_twins_of_keys_select_the_same_values_after_it():
    model = key_value_model()
    keys = model.bottleneck.keys
    keys[:, 40] = keys[:, 7]  # in another block of the search, after others are gone
    keys[:, 63] = keys[:, 12]
    encodings = torch.randn(200, 16)
    unlearner = Unlearner(model, None)
    unlearner.delete(Selection({SITE: [64 * c + m for c in range(6) for m in range(13, 30)]}), "some")
    expected = model(encodings=encodings).logits
    unlearner.compact()
    torch.testing.assert_close(model(encodings=encodings).logits, expected, rtol=0, atol=0)
