"""The controls of an evaluation are what they are said to be: plain models, and random codes that fire as often."""

import math

import numpy as np
import pytest
import torch
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from excise import Evaluation, Unlearner, sweep
from excise.bottlenecks.site import bottlenecks
from excise.codes.counting import count_codes, count_used
from excise.codes.selection import Selection, random_like
from excise.evaluation import evaluate, generate_texts
from tests.helpers import tiny
from tests.models.test_third_kind import SITES, quantised_t5

SITE = "encoder.block.1"
TOPIC = Selection({SITE: (3, 4, 5)}, {"q": 0.05})
QUIET = {"words": ["professeur"], "max_new_tokens": 3, "progress": False}


@pytest.fixture
def plain(unlearner):
    """The plain T5 of the same weights."""
    settings = {name: value for name, value in unlearner.model.config.to_dict().items() if "bottleneck" not in name}
    model = T5ForConditionalGeneration(T5Config(**settings | {"model_type": "t5"})).eval()
    weights = unlearner.model.state_dict()
    model.load_state_dict({name: tensor for name, tensor in weights.items() if ".bottleneck." not in name})
    return model


def test_with_the_bottleneck_left_out_it_is_the_plain_class_before_and_after_a_deletion(unlearner, topic, plain):
    expected = {
        name: generate_texts(plain, unlearner.tokenizer, getattr(topic, name)["text"], max_new_tokens=3)
        for name in ("heldout", "heldout_retain")
    }
    ids = torch.tensor([[5, 4, 1]])
    assert not torch.equal(plain(ids, labels=ids).logits, unlearner.model(ids, labels=ids).logits)
    for remove in (unlearner.mask, unlearner.delete):
        found = evaluate(unlearner, topic, random_codes=False, base=plain, **QUIET)
        assert found.outputs["bottleneck left out"] == found.outputs["base model"] == expected
        remove(TOPIC, topic)
    assert math.isnan(evaluate(unlearner, topic, random_codes=False, base=plain, **QUIET).bottleneck_cost())


def test_a_base_model_is_named_or_given_and_shows_what_the_bottleneck_costs(unlearner, topic, plain, tmp_path):
    plain.save_pretrained(tmp_path / "plain")
    options = QUIET | {"random_codes": False, "left_out": False}
    given = evaluate(unlearner, topic, base=plain, **options)
    assert list(given.scores) == ["before", "after", "base model"]
    assert evaluate(unlearner, topic, base=tmp_path / "plain", **options) == given
    unlearner.tokenizer.save_pretrained(tmp_path / "plain")
    assert evaluate(unlearner, topic, base=str(tmp_path / "plain"), **options) == given
    assert evaluate(unlearner, topic, base="not run again", reuse=given, **options) == given
    chrf = {c: given.scores[c]["heldout_retain"]["chrf"] for c in given.scores}
    assert given.bottleneck_cost(metric="chrf", of=100) == pytest.approx(
        100 * (1 - chrf["before"] / chrf["base model"])
    )


def test_what_is_no_base_of_the_model_is_refused_before_anything_is_generated(
    unlearner, topic, plain, generation, tmp_path
):
    with pytest.raises(ValueError, match=r"base model, a CodebookT5For\w+, has bottlenecks. Give the plain model"):
        evaluate(unlearner, topic, base=unlearner.model, **QUIET)
    wrong = {
        "another vocabulary than the model: it has 64 embeddings, the model has 25": tiny.base_t5(),
        "a T5EncoderModel, does not generate": T5EncoderModel(T5Config(**tiny.T5)),
    }
    for message, base in wrong.items():
        with pytest.raises(ValueError, match=message):
            evaluate(unlearner, topic, base=base, **QUIET)
    plain.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"it has 25 embeddings and a tokenizer of \d+ tokens, the model has 25 and"):
        evaluate(unlearner, topic, base=tmp_path, **QUIET)
    assert generation.calls == []


def test_codes_are_counted_as_they_are_used_whatever_the_least_similarity():
    model, rows = tiny.codebook_t5(top_s=3), tiny.copying(20)
    module = bottlenecks(model)[tiny.SITE]
    module.min_similarity.fill_(0.35)  # many tokens have a code so similar, and few have three
    used, ranked = (
        count(model, tiny.tokenizer(), rows, progress=False, **options)[tiny.SITE]
        for count, options in ((count_used, {}), (count_codes, {"max_top_s": 3}))
    )
    by_hand = torch.zeros(module.num_codes, dtype=torch.int64)
    for row in rows.with_format("torch"):
        codes = model(**{name: row[name][None] for name in row}).codes[tiny.SITE]
        by_hand[codes[codes >= 0].unique()] += 1
    assert torch.equal(used.example_counts(3), by_hand) and used.num_examples == 20
    assert (ranked.example_counts(3) <= by_hand).all() and 0 < ranked.example_counts(3).sum() < by_hand.sum()


def test_the_settings_say_how_often_the_codes_and_their_controls_fire(unlearner, topic, generation):
    found = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    controls = found.settings["controls"]
    assert controls["examples"] == {"target": 12, "retain": 12}
    drawn = {"after": (3, 4, 5)}
    drawn |= dict(zip(("random codes", "topic-matched random codes"), generation.calls[6:10:2], strict=True))
    for name in ("target", "retain"):
        counts = count_used(unlearner.model, unlearner.tokenizer, getattr(topic, name), progress=False)[SITE]
        fires = {condition: int(counts.example_counts(2)[list(codes)].sum()) for condition, codes in drawn.items()}
        assert {condition: of_codes[name] for condition, of_codes in controls["fires"].items()} == fires
    first = controls["fires"]["after"]
    assert f"the removed codes {first['target']} and {first['retain']}, random codes " in str(found).splitlines()[-1]


def test_topic_matched_codes_fire_on_the_topic_s_sentences_as_often_as_there_are_any():
    rng = np.random.default_rng(0)
    frequency, live = rng.integers(0, 60, 2_000), rng.random(2_000) < 0.9
    selected = np.flatnonzero(live)[:30]
    frequency[selected[:20]], frequency[selected[20:]] = 50, 500  # as often as the latter no other code fires
    arguments = Selection({SITE: selected}), {SITE: frequency}, {SITE: live}
    near, far = (np.array(random_like(*arguments, 0, neighbours).codes[SITE]) for neighbours in (5, 20))
    assert not set(near) & set(selected) and live[near].all() and len(near) == 30
    assert frequency[near].sum() >= frequency[far].sum()
    assert np.sort(frequency[near])[-10:].min() >= 59 and (np.sort(frequency[near])[:20] == 50).all()


def test_counts_that_are_given_are_not_made_again(unlearner, topic, generation, monkeypatch):
    given = {
        name: count_used(unlearner.model, unlearner.tokenizer, getattr(topic, name), progress=False)
        for name in ("target", "retain")
    }
    expected = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    monkeypatch.setattr("excise.evaluation.controls.count_used", None)
    assert evaluate(unlearner, topic, selection=TOPIC, **given, progress=False) == expected


def test_an_evaluation_of_old_is_reused_and_what_it_lacks_is_made(unlearner, topic, generation):
    now = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    old, erased = now.to_dict(), ("embedding rows erased too", "rows erased, bottleneck left out")
    for of_condition in (old["scores"], old["outputs"]):
        for name in (*erased, "bottleneck left out", "topic-matched random codes"):
            del of_condition[name]
    old["settings"] = {name: value for name, value in old["settings"].items() if name != "controls"}
    old = Evaluation.from_dict(old)
    assert "Firings" not in str(old) and old.nothing_to_forget is None and len(str(old).splitlines()) == 3 + 3
    generation.calls.clear()
    again = evaluate(unlearner, topic, selection=TOPIC, reuse=old, progress=False)
    assert () not in generation.calls and generation.calls.count("left out") == 4
    assert again == now


def test_a_sweep_counts_once_and_leaves_the_bottleneck_out_once(unlearner, topic, generation, planted, monkeypatch):
    counted = []

    def count(model, processor, rows, **options):
        counted.append(len(rows))
        return count_used(model, processor, rows, **options)

    monkeypatch.setattr("excise.evaluation.controls.count_used", count)
    swept = sweep(unlearner, topic, top_s=(1, 2, 3), progress=False)
    assert counted == [12, 12] and generation.calls.count("left out") == 2
    frame = swept.to_pandas()
    assert set(frame.top_s[frame.condition == "bottleneck left out"]) == {0}
    assert set(frame.top_s[frame.condition == "topic-matched random codes"]) == {1, 2, 3}


def test_a_third_kind_of_bottleneck_is_evaluated_without_itself(topic, generation):
    finder = Unlearner(quantised_t5(), tiny.tokenizer())
    found = evaluate(finder, topic, selection=Selection({SITES[0]: (1, 2)}), words=["professeur"], progress=False)
    assert generation.calls.count("left out") == 4  # the topic's rows erased and not
    assert found.settings["controls"]["fires"].keys() == {"after", "random codes", "topic-matched random codes"}


def test_codes_of_two_requests_are_counted_as_those_of_two(unlearner, topic):
    unlearner.mask(TOPIC, topic)
    assert "requests" not in evaluate(unlearner, topic, left_out=False, **QUIET).settings["controls"]
    unlearner.mask(Selection({SITE: (8, 9)}, {"q": 0.05}), "another topic")
    assert evaluate(unlearner, topic, left_out=False, **QUIET).settings["controls"]["requests"] == 2
    alone = evaluate(unlearner, topic, selection=TOPIC, left_out=False, **QUIET)
    assert "requests" not in alone.settings["controls"]
