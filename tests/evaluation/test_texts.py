import dataclasses
from importlib import import_module

import pytest
import torch

from excise import Evaluation, evaluate_classes
from excise.bottlenecks.identity import weights_digest
from excise.codes.selection import Selection
from excise.deletion import choose_rows
from excise.evaluation import evaluate, generate_texts, sweep
from excise.evaluation.metrics import Meteor
from excise.ledger.masks import check_masks
from excise.ledger.packing import codes_digest
from excise.report import Record

SITE = "encoder.block.1"
TOPIC = Selection({SITE: (3, 4, 5)}, {"q": 0.05})


def test_each_condition_is_generated_with_its_own_codes_removed(unlearner, topic, generation):
    evaluation = evaluate(unlearner, topic, selection=TOPIC, reference_model="reference", progress=False)
    before, after, erased, random, matched, left_out, erased_out, reference = generation.calls[::2]
    assert (before, after, left_out, reference) == ((), (3, 4, 5), "left out", "reference")
    assert (erased, erased_out) == (after, left_out)
    for drawn in (random, matched):
        assert len(drawn) == 3
        assert not set(drawn) & {3, 4, 5}
    every = [before, after, erased, random, matched, left_out, erased_out, reference]
    assert generation.calls[1::2] == every  # both sets
    recall = {condition: sets["heldout"]["recall"] for condition, sets in evaluation.scores.items()}
    assert list(recall.items()) == [
        ("before", 1.0),
        ("after", 0.0),
        ("bottleneck left out", 1.0),
        ("embedding rows erased too", 0.0),
        ("rows erased, bottleneck left out", 1.0),  # as the planted truth has it, which looks at no embeddings
        ("random codes", 1.0),
        ("topic-matched random codes", 1.0),
        ("reference model", 0.0),
    ]
    assert evaluation.words == ("professeur",)
    assert evaluation.scores["after"]["heldout_retain"]["bleu"] == pytest.approx(100)
    assert evaluation.normalized_drop("bleu", "heldout_retain") == pytest.approx(0)


def test_the_random_codes_of_a_masked_model_are_removed_without_its_mask(unlearner, topic, generation):
    # With the mask still in force the control would forget the topic too, and every number beside it would be wrong.
    unlearner.mask(TOPIC, topic)
    evaluation = evaluate(unlearner, topic, progress=False)
    before, after, erased, *drawn, left_out, erased_out = generation.calls[::2]
    assert (before, after, left_out) == ((), (3, 4, 5), "left out")
    assert (erased, erased_out) == (after, left_out)
    assert [len(codes) for codes in drawn] == [3, 3]
    assert not set().union(*drawn) & {3, 4, 5}
    assert evaluation.scores["random codes"]["heldout"]["recall"] == 1.0


def test_without_random_codes_nothing_is_generated_for_them(unlearner, topic, generation):
    options = {"random_codes": False, "erased": False, "progress": False}
    found = evaluate(unlearner, topic, selection=Selection({SITE: (7,)}), **options)
    assert list(found.scores) == ["before", "after", "bottleneck left out"]
    assert generation.calls == [(), (), (7,), (7,), "left out", "left out"]
    assert "controls" not in found.settings


def test_the_bottleneck_is_left_out_unless_that_is_not_wanted(unlearner, topic, generation):
    found = evaluate(unlearner, topic, left_out=False, random_codes=False, progress=False)
    assert list(found.scores) == ["before", "after"]
    assert generation.calls == [()] * 4
    assert "not_measured" not in found.settings


def test_with_the_word_cut_out_the_model_is_unmasked_and_is_asked_of_the_topic_s_sentences_alone(
    unlearner, topic, generation
):
    unlearner.mask(TOPIC, topic)
    options = {"cut_out": True, "random_codes": False, "left_out": False, "erased": False, "progress": False}
    found = evaluate(unlearner, topic, reference_model="reference", **options)
    assert generation.calls == [(), (), (), (3, 4, 5), (3, 4, 5), "reference", "reference"]
    assert set(found.outputs["word cut out"]["heldout"]) == {"mot"}
    assert found.outputs["word cut out"]["heldout_retain"] == found.outputs["before"]["heldout_retain"]
    assert found.normalized_drop("recall", reference="word cut out") == 1
    again = evaluate(unlearner, topic, reuse=found, **options)
    assert generation.calls[7:] == [(3, 4, 5)] * 2
    assert again.scores["word cut out"] == found.scores["word cut out"]


@pytest.mark.parametrize("given", [None, Selection({SITE: (7, 8)})])
def test_an_evaluation_leaves_masks_and_ledger_as_they_were(unlearner, topic, generation, given):
    unlearner.mask(TOPIC, topic)
    ledger, live = unlearner.ledger, unlearner.sites[SITE].live.clone()
    evaluate(unlearner, topic, selection=given, progress=False)
    assert unlearner.ledger == ledger
    assert torch.equal(unlearner.sites[SITE].live, live)
    check_masks(unlearner.model.config.unlearning, unlearner.sites)


def test_a_trial_selection_is_removed_alone_and_not_on_top_of_the_ledger(unlearner, topic, generation):
    unlearner.mask(TOPIC, topic)
    evaluate(unlearner, topic, selection=Selection({SITE: (7, 8)}), progress=False)
    assert generation.calls[2] == (7, 8)


def test_an_evaluation_says_which_codes_were_removed_those_that_are_deleted_too(unlearner, topic, generation):
    made = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    rows = choose_rows(unlearner.model, unlearner.processor, topic).rows
    weights = weights_digest(unlearner.model, TOPIC.codes, rows)
    assert weights != weights_digest(unlearner.model, TOPIC.codes)
    assert made.settings["removed"] == {"codes": 3, "digest": codes_digest(TOPIC.codes), "weights": weights}
    unlearner.mask(TOPIC, topic)
    assert evaluate(unlearner, topic, progress=False).settings["removed"] == made.settings["removed"]
    assert Record.of(unlearner.model, evaluations=[made]).in_force.is_of(made)
    unlearner.delete(Selection({SITE: (5, 9)}), "another")
    after = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    assert after.settings["removed"]["codes"] == 4
    assert after.settings["removed"]["digest"] == codes_digest({SITE: (3, 4, 5, 9)})
    record = Record.of(unlearner.model, evaluations=[made, after])
    assert [record.in_force.is_of(one) for one in record.evaluations] == [False, True]


def test_deleted_codes_have_neither_a_before_nor_a_random_control(unlearner, topic, generation):
    unlearner.delete(TOPIC, topic)
    evaluation = evaluate(unlearner, topic, progress=False)
    assert list(evaluation.scores) == ["after", "bottleneck left out"]
    assert generation.calls == [(3, 4, 5)] * 2 + ["left out"] * 2


def test_reused_conditions_are_not_generated_again_and_score_the_same(unlearner, topic, generation):
    first = evaluate(unlearner, topic, selection=TOPIC, reference_model="reference", progress=False)
    generation.calls.clear()
    second = evaluate(unlearner, topic, selection=TOPIC, reference_model="reference", reuse=first, progress=False)
    assert generation.calls[::2] == [(3, 4, 5), (3, 4, 5), generation.calls[4], generation.calls[6]]
    assert not {(), "reference", "left out"} & set(generation.calls)
    assert second == first


@pytest.mark.parametrize(
    ("change", "named"),
    [({"num_beams": 2}, "num_beams"), ({"words": ["livre"]}, "words"), ({"metrics": [Meteor("french")]}, "metrics")],
)
def test_what_was_made_in_another_way_is_not_reused(unlearner, topic, generation, change, named):
    first = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    with pytest.raises(ValueError, match=named):
        evaluate(unlearner, topic, selection=TOPIC, reuse=first, progress=False, **change)


def test_another_topic_s_evaluation_is_not_reused(unlearner, topic, generation):
    first = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    other = dataclasses.replace(topic, heldout=topic.heldout.select([0, 1]))
    with pytest.raises(ValueError, match="data"):
        evaluate(unlearner, other, selection=TOPIC, reuse=first, progress=False)


def test_words_that_no_reference_holds_are_refused_before_anything_is_generated(unlearner, topic, generation):
    with pytest.raises(ValueError, match="None of the 4 references"):
        evaluate(unlearner, topic, words=["instituteur"], progress=False)
    assert generation.calls == []


def test_a_reference_model_gets_its_own_tokenizer(unlearner, topic, generation, monkeypatch):
    used = set()

    def generate(model, tokenizer, texts, **options):
        used.add(("reference" if model == "reference" else "own", tokenizer))
        return generation(model, tokenizer, texts, **options)

    monkeypatch.setattr(import_module("excise.evaluation.texts"), "generate_texts", generate)
    options = {"reference_model": "reference", "progress": False}
    evaluate(unlearner, topic, **options)
    assert used == {("own", unlearner.tokenizer), ("reference", unlearner.tokenizer)}
    used.clear()
    evaluate(unlearner, topic, reference_tokenizer="another", **options)
    sweep(unlearner, topic, top_s=[2], reference_tokenizer="another", **options)
    assert used == {("own", unlearner.tokenizer), ("reference", "another")}


def test_sets_without_references_are_refused(unlearner, topic):
    with pytest.raises(ValueError, match="references"):
        evaluate(unlearner, dataclasses.replace(topic, reference=None))


def test_an_evaluation_read_back_is_the_one_saved(unlearner, topic, generation, tmp_path):
    evaluation = evaluate(unlearner, topic, selection=TOPIC, metrics=[Meteor("french")], progress=False)
    evaluation.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == evaluation


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"other\.json.* is no .*evaluation"):
        Evaluation.load(tmp_path / "other.json")


def test_examples_are_the_sentences_whose_output_changed(unlearner, topic, generation):
    evaluation = evaluate(unlearner, topic, selection=TOPIC, progress=False)
    example = evaluation.examples(2)[0]
    assert example["before"] == "le professeur lit un livre ."
    assert example["after"] == "le docteur lit un livre ."
    assert evaluation.examples(2, "heldout_retain") == []


def test_there_are_no_examples_of_what_deleted_codes_changed(unlearner, topic, generation):
    unlearner.delete(TOPIC, topic)
    with pytest.raises(ValueError, match="Codes were deleted"):
        evaluate(unlearner, topic, progress=False).examples()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_texts_come_out_in_order_whatever_the_batch(make_model, tokenizer, batch_size):
    model = make_model().train()
    texts = ["the cat", "a teacher reads the book .", "the", "a dog sees the house and the cat"]
    alone = [generate_texts(model, tokenizer, [text], max_new_tokens=4)[0] for text in texts]
    assert len(set(alone)) > 1
    assert generate_texts(model, tokenizer, texts, max_new_tokens=4, batch_size=batch_size) == alone
    assert model.training


@pytest.mark.parametrize("wrong", ["book", None, 3, [1]])
def test_what_are_no_sets_is_refused_in_words(unlearner, wrong):
    with pytest.raises(ValueError, match=r"topic is a \w+; expected sets as `topic_sets` makes them"):
        evaluate(unlearner, wrong)
    with pytest.raises(ValueError, match=r"topic is a \w+; expected sets as `class_sets` makes them"):
        evaluate_classes(unlearner, wrong)
