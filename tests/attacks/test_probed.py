"""The attack by probes."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from excise.attacks import Probed
from excise.attacks.attack_sets import AttackSets
from excise.attacks.probed import place_states
from excise.bottlenecks.site import bottlenecks
from excise.data.classes import class_sets
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD
from tests.helpers import many_words, tiny
from tests.helpers.tiny_images import images, key_value_model, processor

FAST = Probed(hidden=4, examples=(None,))
SITE, CLIP_SITE = tiny.SITE, "encoder.layers.2"


@pytest.fixture(scope="module")
def sets():
    return AttackSets(many_words.topic(target=96), many_words.tokenizer(), words=("livre", "livres"), batch_size=256)


@pytest.fixture(scope="module")
def untouched():
    torch.manual_seed(0)
    return tiny.codebook_t5(t5={"vocab_size": len(many_words.tokenizer())})


@pytest.fixture(scope="module")
def never_saw(untouched):
    """A model to which the topic's word is the same as that of its control."""
    model = copy.deepcopy(untouched)
    rows, piece = model.get_input_embeddings().weight.data, many_words.tokenizer().convert_tokens_to_ids
    rows[piece("book")] = rows[piece("lamp")]
    return model


def count_hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_a_model_that_never_saw_the_topic_lets_nobody_read_it(untouched, never_saw, sets):
    result = FAST(untouched, copy.deepcopy(never_saw), never_saw, sets)
    assert result.verdict == WITHSTOOD
    assert all(
        aucs["removed"] == aucs["never saw"] == 0.5 < aucs["original"] for aucs in result.details["places"].values()
    )


def test_an_untouched_model_lets_it_be_read_and_stays_as_it_was(untouched, never_saw, sets):
    hooks, before = count_hooks(untouched), {k: tensor.clone() for k, tensor in untouched.state_dict().items()}
    result = FAST(untouched, untouched, never_saw, sets)
    assert result.verdict == NOT_WITHSTOOD and result.score > 0.9 and result.null == pytest.approx(0.5)
    places = {place.split(", ")[0] for place in result.details["places"]}
    assert places == {f"before {SITE}", f"after {SITE}", "encoder", "decoder"}
    assert not untouched.training and hooks == count_hooks(untouched)
    assert all(torch.equal(before[name], tensor) for name, tensor in untouched.state_dict().items())


def test_where_a_model_that_never_saw_it_lets_it_be_read_too_nothing_is_measured(untouched, sets):
    result = Probed(hidden=4, examples=(None,), rows=96)(None, untouched, untouched, sets)
    at_ceiling = [label for label in result.details["at ceiling"] if label.startswith(f"before {SITE}, word, linear")]
    assert at_ceiling and not [one for one in result.attempts if one.null > 0.9]


def test_a_probe_that_reads_less_than_of_the_null_is_no_success(untouched, never_saw, sets):
    result = FAST(untouched, never_saw, untouched, sets)
    assert result.verdict == WITHSTOOD and result.score < result.null


def test_without_a_model_that_never_saw_it_the_figures_are_told_and_not_judged(untouched, sets):
    result = FAST(None, untouched, None, sets)
    assert result.verdict == NOT_MEASURED and "no model that never saw" in result.reason
    assert result.details["places"]


def test_a_bottleneck_that_passes_on_the_same_of_all_is_named_as_constant(untouched, never_saw, sets):
    silent = copy.deepcopy(untouched)
    bottlenecks(silent)[SITE].min_similarity.fill_(2)  # no token is like any code
    result = FAST(untouched, silent, never_saw, sets)
    labels = [label for label in result.details["places"] if label.startswith(f"after {SITE}")]
    assert len(labels) == 4 and set(labels) <= set(result.details["constant"])
    assert all(result.details["places"][label]["removed"] == 0.5 for label in labels)


def test_probes_are_tested_on_other_sentences_each_with_its_control(sets):
    _, learns, topics = FAST._rows(sets)
    count = len(sets.topic.target)
    assert (learns[:count] == learns[count:]).all() and topics[:count].all() and not topics[count:].any()
    assert 0.3 < learns.mean() < 0.7
    again = dataclasses.replace(sets.topic, target=sets.topic.target.select(range(50, 60)))
    assert (FAST._rows(AttackSets(again, sets.processor, words=sets.words))[1][:10] == learns[50:60]).all()


@pytest.mark.parametrize("rows", [1, 12])
def test_too_few_sentences_are_not_measured(untouched, sets, rows):
    few = {name: getattr(sets.topic, name).select(range(rows)) for name in ("target", "control")}
    result = FAST(None, untouched, None, AttackSets(dataclasses.replace(sets.topic, **few), sets.processor, sets.words))
    assert result.verdict == NOT_MEASURED and "a probe needs 10 of each" in result.reason


def test_states_that_are_no_numbers_are_refused(untouched, sets):
    broken = copy.deepcopy(untouched)
    broken.decoder.final_layer_norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"not finite .* at decoder"):
        FAST.run(None, broken, None, sets)
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        FAST(None, broken, None, sets)


def test_words_are_read_at_their_own_place_whichever_side_is_padded(untouched, sets):
    states = place_states(untouched, sets, sets.topic.target.select(range(3)))[f"before {SITE}, word"]
    tokens = sets.processor(sets.topic.target[0]["text"], return_tensors="pt")
    from excise.models.activations import bottleneck_inputs

    arrived = bottleneck_inputs(untouched, dict(tokens))[SITE][0, 1]  # the second word
    assert np.allclose(states[0], arrived.numpy(), atol=1e-5)


def test_a_frozen_encoder_that_tells_the_class_is_read_before_and_not_after():
    topic = class_sets(images(320), "red", min_examples=4)
    model = key_value_model(num_codebooks=8)
    sets = AttackSets(topic, processor())
    model.bottleneck.values.data.fill_(0)
    result = FAST(model, model, model, sets)
    places = result.details["places"]
    assert max(aucs["removed"] for label, aucs in places.items() if label.startswith("before")) > 0.9
    assert all(aucs["removed"] == 0.5 for label, aucs in places.items() if label.startswith(("after", "logits")))


def test_a_clip_is_read_at_its_bottleneck_and_its_pooled_features():
    sets = AttackSets(class_sets(tiny.images(200), "red", min_examples=4), tiny.clip_processor())
    model = tiny.codebook_clip()
    result = FAST(model, model, model, sets)
    assert {place.split(", ")[0] for place in result.details["places"]} == {
        f"before {CLIP_SITE}",
        f"after {CLIP_SITE}",
        "pooled",
    }
