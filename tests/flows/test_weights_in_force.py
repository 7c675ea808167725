"""An evaluation tells of the weights that it was made with: after more training nothing is measured any more."""

import copy

import pytest
import torch

from excise import Record, Unlearner, evaluate_classes
from excise.bottlenecks.identity import weights_digest
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.data import class_sets
from excise.ledger.compaction import compact
from tests.helpers.tiny import SITE, codebook_t5, delete_codes, mask_codes
from tests.helpers.tiny_images import images, key_value_model, processor

GONE = {SITE: [1, 2]}


def test_the_digest_is_of_all_that_is_computed_with_and_not_of_what_is_removed():
    model = codebook_t5()
    before = weights_digest(model, GONE)
    mask_codes(model, GONE[SITE])
    assert weights_digest(model, GONE) == before
    delete_codes(model, GONE[SITE])
    assert weights_digest(model, GONE) == before
    assert weights_digest(copy.deepcopy(model).to(torch.bfloat16), GONE) == before
    smaller = copy.deepcopy(model)
    compact(smaller)
    assert weights_digest(smaller, {}) == before
    for name in model.state_dict():
        changed = copy.deepcopy(model)
        if name.endswith("live"):
            continue
        with torch.no_grad():
            changed.state_dict()[name].reshape(-1)[-1:].add_(1)
        assert weights_digest(changed, GONE) != before, name


@pytest.mark.parametrize("relearnt", ["values", "encoder"])
def test_a_class_that_was_learnt_again_is_not_called_forgotten(relearnt):
    model = key_value_model()
    unlearner, few = Unlearner(model, processor()), {"min_examples": 10}
    topic = class_sets(images(60), "red", test=images(40, seed=1), **few)
    unlearner.mask(Selection({"bottleneck": [0, 1, 2]}), "red")
    evaluation = evaluate_classes(unlearner, topic, progress=False)
    (verdict,) = Record.of(model, evaluations=[evaluation]).verdicts
    with torch.no_grad():
        if relearnt == "values":
            bottlenecks(model)["bottleneck"].values[-1, -1] += 1
        else:
            next(model.encoder.parameters()).add_(1)
    (again,) = Record.of(model, evaluations=[evaluation]).verdicts
    assert "in this state" in str(again) and "in this state" not in str(verdict)
