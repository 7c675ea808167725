"""Codes are found on question sets as on those of words: counted, chosen, masked, written into the ledger."""

import copy

import pytest

from excise import Search, Unlearner
from excise.data import question_sets


@pytest.fixture(scope="module")
def padding(chat_tokenizer):
    own = copy.deepcopy(chat_tokenizer)
    own.pad_token = own.eos_token
    return own


@pytest.fixture(scope="module")
def sets(tofu_rows, padding):
    paired = question_sets(tofu_rows, padding, "Hina Ameen", other_names=["Rosa Lopes", "Ana Silva"], heldout=0.5)
    apart = question_sets(tofu_rows, padding, range(4), heldout=0.25, title="two authors")
    return {"names": paired, "rows": apart}


@pytest.mark.parametrize("which", ["names", "rows"])
def test_codes_of_questions_are_counted_and_masked(make_model, padding, sets, which):
    unlearner, topic = Unlearner(make_model(vocab_size=len(padding)), padding), sets[which]
    counts = unlearner.count_topic(topic, max_top_s=8, progress=False)
    (pairs,) = counts.pairs.values()
    assert pairs.target.num_examples == len(topic.target)
    assert pairs.control.num_examples == len(topic.control)
    assert counts.positions == ("topic" if which == "names" else "all")
    request = unlearner.forget(topic, Search("activations", count=2), progress=False)
    assert request.topic == topic.name
    assert topic.is_data_of(request.data)
    unlearner.undo(request)


def test_the_search_of_rows_and_of_names_is_their_own(make_model, padding, sets):
    unlearner = Unlearner(make_model(vocab_size=len(padding)), padding)
    tables = {which: unlearner.choose(topic, progress=False).thresholds for which, topic in sets.items()}
    assert tables["names"]["method"] == "mcnemar"
    assert tables["rows"]["method"] == "fisher"
