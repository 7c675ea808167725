import dataclasses
import math

import pytest
from datasets import Dataset

from excise import Evaluation, Sweep
from excise.codes.search import Search
from excise.evaluation import evaluate, sweep, synonyms
from excise.evaluation.synonym_sweep import without

SITE = "encoder.block.1"


@pytest.fixture
def swept(unlearner, topic, generation, planted):
    return sweep(unlearner, topic, top_s=(1, 3, 2), reference_model="reference", progress=False)


def test_before_and_reference_are_generated_once_for_all_steps(swept, generation):
    assert generation.calls.count(()) == 2  # one for each set
    assert generation.calls.count("reference") == 2
    assert generation.calls.count("left out") == 2
    assert len(generation.calls) == 2 * (3 + 3 * 3)


def test_what_another_sweep_of_the_model_generated_is_reused(swept, unlearner, topic, generation):
    generation.calls.clear()
    first = swept.evaluations[1]
    again = sweep(
        unlearner, topic, top_s=(3,), reference_model="reference", random_codes=False, reuse=first, progress=False
    )
    assert generation.calls == [(3, 4, 5)] * 2
    assert again.evaluations[3].scores["before"] == first.scores["before"]


def test_codes_grow_with_s_and_forgetting_comes_with_the_last_of_them(swept):
    assert {top_s: e.removed for top_s, e in swept.evaluations.items()} == {1: 1, 2: 2, 3: 3}
    recall = [e.scores["after"]["heldout"]["recall"] for e in swept.evaluations.values()]
    assert recall == [1, 1, 0]
    assert [e.scores["random codes"]["heldout"]["recall"] for e in swept.evaluations.values()] == [1, 1, 1]


def test_a_step_of_a_sweep_is_the_evaluation_of_its_selection(swept, unlearner, topic):
    options = {"reference_model": "reference", "erased": False, "progress": False}
    alone = evaluate(unlearner, topic, selection=swept.selections[3], **options)
    assert swept.evaluations[3] == alone


def test_the_data_frame_has_the_original_model_first_and_percent_changes(swept):
    frame = swept.to_pandas()
    bleu = frame[(frame.metric == "bleu") & (frame.set == "heldout")]
    assert bleu.top_s.iloc[0] == 0 and bleu.condition.iloc[0] == "before"
    assert (bleu.condition == "before").sum() == (bleu.condition == "reference model").sum() == 1
    after = bleu[(bleu.condition == "after") & (bleu.top_s == 3)].iloc[0]
    assert after.change == pytest.approx(100 * (after.score - 100) / 100)
    assert after.codes == 3 and after.examples == 4
    reference = bleu[bleu.condition == "reference model"].iloc[0]
    assert reference["drop"] == pytest.approx(100)
    assert 0 < after["drop"] < 100
    assert not set(frame.metric) & {"total", "hits", "low", "high", "bleu_signature"}


def test_a_sweep_read_back_is_the_one_saved(swept, tmp_path):
    swept.save(tmp_path / "sweep.json")
    assert Sweep.load(tmp_path / "sweep.json") == swept


def test_a_file_of_another_kind_is_no_sweep(swept, tmp_path):
    swept.evaluations[1].save(tmp_path / "evaluation.json")
    with pytest.raises(ValueError, match="no sweep"):
        Sweep.load(tmp_path / "evaluation.json")


def test_a_sweep_prints_a_line_for_the_original_and_each_step(swept):
    lines = str(swept).splitlines()
    assert len(lines) == 3 + 3 + 1
    assert "original" in lines[3] and "1.000" in lines[3]
    assert "0.000 (1.000)" in lines[-1]


def test_nothing_selected_changes_nothing_and_has_no_random_control(unlearner, topic, generation):
    # The tiny model is random: no code passes so small a q.
    result = sweep(unlearner, topic, top_s=[2], preset=Search(q=1e-12), progress=False)
    assert result.evaluations[2].removed == 0
    assert result.evaluations[2].outputs["after"] == result.evaluations[2].outputs["before"]
    assert "random codes" not in result.evaluations[2].scores
    assert " 1.000 " in str(result).splitlines()[-1]


def test_without_random_codes_a_sweep_has_none(unlearner, topic, generation, planted):
    result = sweep(unlearner, topic, top_s=[1, 3], random_codes=False, progress=False)
    assert all("random codes" not in evaluation.scores for evaluation in result.evaluations.values())
    assert "(" not in str(result).splitlines()[-1]


def test_a_masked_model_is_swept_without_its_mask_and_keeps_it(unlearner, topic, generation, planted, swept):
    request = unlearner.mask(swept.selections[3], topic)
    again = sweep(unlearner, topic, top_s=(1, 2, 3), reference_model="reference", progress=False)
    assert again.evaluations == swept.evaluations
    assert unlearner.ledger.removed(SITE) == list(request.codes[SITE])


def test_deleted_codes_cannot_be_swept(unlearner, topic, swept):
    unlearner.delete(swept.selections[3], topic)
    with pytest.raises(ValueError, match="deleted"):
        sweep(unlearner, topic, top_s=[1], progress=False)


@pytest.mark.parametrize("top_s", [(), (0, 8), (65,)])
def test_a_number_of_codes_out_of_range_is_refused(unlearner, topic, top_s):
    with pytest.raises(ValueError, match="top_s"):
        sweep(unlearner, topic, top_s=top_s, progress=False)


@pytest.fixture
def other(topic):
    """A topic *likes* whose sentences hold *teacher* in part, and one of which the codes were selected on."""
    texts = ["the teacher likes a dog .", "the dog likes a cat .", "the cat likes a dog .", "the dog likes the house ."]
    rows = Dataset.from_dict({"text": texts, "spans": [[]] * 4, "reference": ["le professeur aime un livre ."] * 4})
    return dataclasses.replace(topic, words=("likes",), inflections=("likes",), heldout=rows)


def test_a_synonym_is_tested_without_the_sentences_that_hold_the_removed_word_or_were_selected_on(other, topic):
    # "the cat likes a dog ." is in the topic's retain set.
    assert without(other, "heldout", topic)["text"] == ["the dog likes a cat .", "the dog likes the house ."]


def test_a_prefix_that_names_the_removed_word_hides_no_synonym(other, topic):
    def prefixed(sets, prefix):
        rows = {name: getattr(sets, name) for name in ("target", "control", "retain", "heldout", "heldout_retain")}
        rows = {name: data.map(lambda row: {"text": prefix + row["text"]}) for name, data in rows.items()}
        return dataclasses.replace(sets, prefix=prefix, **rows)

    found = without(prefixed(other, "for the teacher: "), "heldout", prefixed(topic, "translate: "))
    assert found["text"] == ["for the teacher: " + text for text in without(other, "heldout", topic)["text"]]


def test_codes_of_one_topic_are_tested_on_another(unlearner, topic, other, generation, planted):
    generation.truth.update(zip(other.heldout["text"], other.heldout["reference"], strict=True))
    result = synonyms(unlearner, topic, other, top_s=[1, 3], words=["professeur"], progress=False)
    assert (result.topic, result.tested) == ("teacher", "likes")
    assert result.evaluations[3].scores["after"]["heldout"]["recall"] == 0
    assert result.evaluations[3].scores["after"]["heldout"]["total"] == 2
    assert "tested on 'likes'" in str(result)


def test_a_synonym_that_never_stands_alone_is_refused(topic):
    with pytest.raises(ValueError, match="Each of the 4"):
        without(topic, "heldout", topic)


def test_negative_scores_change_in_units_of_their_size():
    scores = {"before": -4.0, "after": -5.0, "reference model": -6.0}
    evaluation = Evaluation(
        topic="t",
        words=("w",),
        removed=1,
        scores={c: {"heldout": {"bart_score": score, "zero": 0.0}} for c, score in scores.items()},
        outputs={},
        texts={"heldout": ["a"]},
        references={},
        settings={},
    )
    assert evaluation.change("bart_score", "heldout", "after") == pytest.approx(-25)
    assert evaluation.drop("bart_score", "heldout", "after") == pytest.approx(50)
    assert math.isnan(evaluation.change("zero", "heldout", "after"))
    assert math.isnan(evaluation.drop("zero", "heldout", "after"))


@pytest.mark.parametrize("search", [Search("activations", count=2), Search("examples", count=4)])
def test_a_search_without_a_test_is_swept_beside_random_codes_too(unlearner, topic, generation, planted, search):
    result = sweep(unlearner, topic, top_s=[1], preset=search, progress=False)
    assert 0 < result.evaluations[1].removed == result.selections[1].num_codes
    assert "random codes" in result.evaluations[1].scores
