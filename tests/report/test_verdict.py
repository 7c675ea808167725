"""Verdicts: what a title may say of what was measured, by the rule in docs/method/verdicts.md."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from excise.codes.selection import Selection
from excise.ledger.packing import codes_digest
from excise.report import Evaluation, Frontier, Record, Sweep
from excise.report.verdict import BACK, LEFT, LOST, RULE, Outcome, Share, headline, judged, verdicts
from excise.statistics import clopper_pearson
from excise.unlearner import Unlearner
from tests.helpers import tiny
from tests.helpers.evidence import SITE, class_evaluation, class_frontier, text_evaluation

# Hits and examples before and after, and with the word cut out; what the rule says.
TABLE = [
    ((95, 100), (95, 100), None, "not forgotten"),  # a harmless code was masked
    ((95, 100), (90, 100), None, "not forgotten"),  # the intervals overlap
    ((50, 100), (90, 100), None, "not forgotten"),  # better than before
    ((95, 100), (48, 100), None, "partly forgotten"),  # half is left
    ((950, 1000), (712, 1000), None, "partly forgotten"),  # 75 % of the accuracy is left
    ((950, 1000), (100, 1000), None, "partly forgotten"),  # 89.5 % is lost
    ((950, 1000), (95, 1000), None, "forgotten"),  # 90 %
    ((100, 100), (0, 100), None, "forgotten"),
    ((26, 37), (0, 37), None, "forgotten"),  # as `make demo` on one processor
    ((26, 37), (3, 37), None, "partly forgotten"),  # and on another: 88 %
    ((54, 61), (0, 61), None, "forgotten"),  # the quickstart
    ((12, 12), (0, 12), None, "partly forgotten"),  # nothing is left of 12, of which 26 % could be
    ((13, 13), (0, 13), None, "forgotten"),
    ((1, 1), (0, 1), None, "too few examples to tell"),
    ((1, 1), (1, 1), None, "too few examples to tell"),
    ((5, 5), (0, 5), None, "too few examples to tell"),
    ((6, 6), (0, 6), None, "partly forgotten"),
    ((3, 37), (0, 37), None, "nothing to forget"),  # not told from none
    ((3, 37), (3, 37), None, "nothing to forget"),
    ((7, 37), (0, 37), None, "nothing to forget"),
    ((9, 37), (0, 37), None, "partly forgotten"),
    ((0, 37), (0, 37), None, "nothing to forget"),
    ((0, 37), (9, 37), None, "nothing to forget"),
    ((0, 1), (0, 1), None, "too few examples to tell"),
    ((60, 100), (20, 100), (55, 100), "nothing to forget"),  # guessed nearly as often without the word
    ((60, 100), (20, 100), (45, 100), "nothing to forget"),  # the intervals overlap
    ((60, 100), (20, 100), (95, 100), "nothing to forget"),
    ((36, 40), (13, 40), (12, 40), "partly forgotten"),  # 96 % of what can be lost, but 33 % could be left
    ((900, 1000), (330, 1000), (300, 1000), "forgotten"),
    ((900, 1000), (370, 1000), (300, 1000), "partly forgotten"),  # 88 %
    ((900, 1000), (100, 1000), (300, 1000), "forgotten"),  # below what is guessed
]


@pytest.mark.parametrize(("before", "after", "floor", "said"), TABLE)
def test_the_rule(before, after, floor, said):
    assert judged(Share.of(*before), Share.of(*after), floor and Share.of(*floor)).value == said


def test_a_class_that_is_told_by_chance_alone_cannot_be_forgotten():
    before, after = Share.of(120, 1000), Share.of(0, 1000)
    assert judged(before, after, guessed=0.1) == Outcome.NOTHING
    assert judged(before, after) == Outcome.FORGOTTEN
    assert judged(Share.of(900, 1000), Share.of(100, 1000), guessed=0.1) == Outcome.PARTLY  # chance is no floor


def test_the_rule_is_said_as_it_is():
    assert (LOST, LEFT, BACK) == (0.9, 0.25, 0.25)
    for part in (
        "at least 90 % of what could be lost is lost",
        "leaves at most 25 %",
        "at least 25 % of what could be",
    ):
        assert part in RULE


def test_without_an_interval_nothing_is_said():
    share = Share.of(9, 10)
    assert judged(None, share) == judged(share, None) == judged(None, None) == Outcome.NOT_MEASURED


@given(st.integers(1, 400), st.data())
def test_the_rule_says_forgotten_only_where_a_sceptic_would(total, data):
    before, after = data.draw(st.integers(0, total)), data.draw(st.integers(0, total))
    said = judged(Share.of(before, total), Share.of(after, total))
    if said in (Outcome.FORGOTTEN, Outcome.PARTLY):
        assert clopper_pearson(after, total).high < clopper_pearson(before, total).low
    if said is Outcome.FORGOTTEN:
        assert after <= (1 - LOST) * before + 1e-9 and clopper_pearson(after, total).high <= LEFT * before / total
    if after >= before:
        assert said in (Outcome.NOT_FORGOTTEN, Outcome.TOO_FEW, Outcome.NOTHING)


@given(st.integers(1, 300), st.data())
def test_to_lose_more_is_never_a_worse_verdict(total, data):
    order = [Outcome.NOT_FORGOTTEN, Outcome.PARTLY, Outcome.FORGOTTEN]
    before = Share.of(data.draw(st.integers(0, total)), total)
    more, less = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    lost_more, lost_less = (judged(before, Share.of(hits, total)) for hits in (more, less))
    assert lost_more == lost_less if lost_more not in order else order.index(lost_more) >= order.index(lost_less)


def masked(*topics, site=SITE):
    """A model in which two codes are masked for each topic, and its unlearner."""
    unlearner = Unlearner(tiny.codebook_t5((1,)), None)
    for i, topic in enumerate(topics):
        unlearner.mask(Selection({site: [2 * i + 3, 2 * i + 4]}, {"method": "fisher"}), topic)
    return unlearner


def scored(before, after, total=100, topic="teacher", removed=2, codes=None, **more) -> dict:
    """An evaluation with so many hits, of the removal of codes, or of as many as are told."""

    def scores(hits):
        low, high = clopper_pearson(hits, total)
        return {"recall": hits / total, "hits": hits, "total": total, "low": low, "high": high}

    hits = {"before": before, "after": after, **{name.replace("_", " "): value for name, value in more.items()}}
    sets = {name: {"heldout": scores(value), "heldout_retain": {}} for name, value in hits.items() if value is not None}
    state = text_evaluation(topic, scores=sets, removed=removed)
    if codes is not None:
        state["settings"]["removed"] = {"codes": len(codes), "digest": codes_digest({SITE: codes})}
    return state


def said(model, *evaluations, **more):
    return [(one.topic, one.label) for one in Record.of(model, evaluations=evaluations, **more).verdicts]


def test_what_was_not_measured_is_not_said_to_be_forgotten():
    unlearner = masked("teacher")
    assert said(unlearner.model) == [("teacher", "not measured")]
    unlearner.delete_request(1)
    (verdict,) = Record.of(unlearner.model, mode="delete").verdicts
    assert verdict.label == "not measured"
    assert verdict.sentence == "no evaluation, sweep or frontier of it is in the record"
    assert said(unlearner.model, scored(95, 0, topic="another")) == [("teacher", "not measured")]


@pytest.mark.parametrize(("after", "label"), [(95, "not forgotten"), (48, "partly forgotten"), (1, "forgotten")])
def test_a_title_says_what_the_evaluation_does(after, label):
    record = Record.of(masked("teacher").model, evaluations=[scored(95, after)])
    assert headline(record.verdicts) == f"{label.capitalize()}: teacher"
    (verdict,) = record.verdicts
    assert verdict.sentence.startswith("topic recall 0.950 (0.887 to 0.984) before, ")
    assert verdict.sentence.endswith("of 100 examples")


def test_an_evaluation_of_another_state_says_nothing_of_this_one():
    unlearner = masked("teacher")
    this, other = scored(95, 0, codes=[3, 4]), scored(95, 0, codes=[3, 5])
    assert said(unlearner.model, this) == [("teacher", "forgotten")]
    assert said(unlearner.model, other) == [("teacher", "not measured in this state")]
    assert said(unlearner.model, scored(95, 0, removed=3)) == [("teacher", "not measured in this state")]
    assert said(unlearner.model, other, this) == [("teacher", "forgotten")]
    unlearner.mask(Selection({SITE: [9]}), "water")
    assert said(unlearner.model, this)[0] == ("teacher", "not measured in this state")
    unlearner.undo(2)
    assert said(unlearner.model, this) == [("teacher", "forgotten")]
    unlearner.undo(1)
    assert said(unlearner.model, this) == []


def test_one_topic_is_masked_another_deleted_and_each_has_its_verdict():
    unlearner = masked("teacher", "water")
    unlearner.delete_request(2)
    codes = [3, 4, 5, 6]
    teacher, water = scored(95, 1, codes=codes), scored(90, 88, topic="water", codes=codes)
    labels = [("teacher", "forgotten"), ("water", "not forgotten")]
    assert said(unlearner.model, teacher, water) == labels
    assert said(unlearner.model, teacher) == [("teacher", "forgotten"), ("water", "not measured")]
    record = Record.of(unlearner.model, evaluations=[teacher, water])
    assert headline(record.verdicts) == "Not forgotten: water. Forgotten: teacher"


def test_of_several_measurements_the_least_favourable_counts():
    model = masked("teacher").model
    assert said(model, scored(95, 1), scored(95, 60)) == [("teacher", "partly forgotten")]
    assert said(model, scored(95, 60), scored(1, 0, total=1)) == [("teacher", "partly forgotten")]
    back = scored(95, 1, bottleneck_left_out=90)
    assert said(model, scored(95, 1), back) == [("teacher", "forgotten, and comes back without the bottleneck")]


@pytest.mark.parametrize(
    ("after", "left_out", "back"),
    [(1, 90, True), (1, 25, True), (1, 23, False), (48, 95, True), (48, 50, False), (95, 95, None), (1, None, None)],
)
def test_what_comes_back_without_the_bottleneck_is_said(after, left_out, back):
    assert BACK == 0.25
    (verdict,) = Record.of(
        masked("teacher").model, evaluations=[scored(95, after, bottleneck_left_out=left_out)]
    ).verdicts
    assert verdict.comes_back is back
    assert verdict.label.endswith(", and comes back without the bottleneck") == bool(back)
    assert (f"{(left_out or 0) / 100:.3f} with the bottleneck left out" in verdict.sentence) == (left_out is not None)


@pytest.mark.parametrize("total", [5, 6, 40, 400])
def test_a_verdict_and_an_evaluation_agree_on_whether_there_was_anything_to_forget(total):
    model = masked("teacher").model
    for hits in sorted({0, 1, 3, total // 10, total // 2, total}):
        for cut in (None, 0, hits // 2, hits):
            state = scored(hits, 0, total=total, word_cut_out=cut)
            (verdict,) = Record.of(model, evaluations=[state]).verdicts
            told = Evaluation.from_dict(state).nothing_to_forget
            assert (verdict.outcome is Outcome.NOTHING) == bool(told) or verdict.outcome is Outcome.TOO_FEW


def without(state, *names):
    for sets in state["scores"].values():
        for name in names:
            sets["heldout"].pop(name, None)
    return state


def test_bounds_are_worked_out_from_counts_where_they_are_missing():
    model = masked("teacher").model
    assert said(model, without(scored(95, 0), "low", "high")) == [("teacher", "forgotten")]
    assert said(model, without(scored(95, 0), "hits", "total")) == [("teacher", "forgotten")]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: without(state, "low", "high", "hits", "total"),
        lambda state: without(state, "low", "high", "total"),
        lambda state: without(state, "recall"),
        lambda state: state["scores"]["after"]["heldout"].update(recall=math.nan),
        lambda state: state["scores"]["before"]["heldout"].update(recall=None),
        lambda state: state["scores"]["after"]["heldout"].clear(),
        lambda state: state["scores"].pop("before"),
        lambda state: state["scores"].clear(),
        lambda state: [sets["heldout"].update(bleu=30.0) for sets in without(state, "recall")["scores"].values()],
        lambda state: without(state, "low", "high")["scores"]["after"]["heldout"].update(hits=101),
        lambda state: without(state, "low", "high")["scores"]["after"]["heldout"].update(hits="x", total=0),
    ],
)
def test_without_a_score_that_has_an_interval_nothing_was_measured(change):
    state = scored(95, 0)
    change(state)
    (verdict,) = Record.of(masked("teacher").model, evaluations=[state]).verdicts
    assert verdict.label == "not measured" and verdict.sentence


def test_a_class_is_judged_by_its_accuracy():
    model = masked("red").model
    assert said(model, class_evaluation()) == [("red", "forgotten")]
    state = class_evaluation()
    state["scores"]["after"]["heldout"] = state["scores"]["random codes"]["heldout"]
    assert said(model, state) == [("red", "not forgotten")]


def test_a_topic_that_is_named_otherwise_is_known_by_the_data_that_it_was_chosen_on():
    unlearner, data = masked(), {"target": "a", "heldout": "b"}
    unlearner.mask(Selection({SITE: [3, 4]}), "what was asked")
    state = scored(95, 0)
    state["settings"]["data"] = data
    assert said(unlearner.model, state) == [("what was asked", "not measured")]
    record = Record.of(unlearner.model, evaluations=[state])
    record.state["requests"][0]["data"] = data
    assert [one.label for one in record.verdicts] == ["forgotten"]
    state["settings"]["data"] = {}
    record = Record.of(unlearner.model, evaluations=[state])
    assert [one.label for one in record.verdicts] == ["not measured"]


def frontier(codes=(3, 4), after=0.0, **changes) -> dict:
    """A frontier of a point with a code, and one with the codes."""
    points = [[0, 0, 0.9, 0.8], [1, 1, 0.8, 0.8], [2, 2, after, 0.79]]
    states = [codes_digest({SITE: ids}) for ids in ([], codes[:1], codes)]
    return class_frontier() | {"points": points, "states": states} | changes


def test_the_point_of_a_frontier_that_is_in_force_is_evidence():
    model = masked("red").model
    assert said(model, frontiers=[frontier()]) == [("red", "forgotten")]
    assert said(model, frontiers=[frontier(after=0.5)]) == [("red", "partly forgotten")]
    assert said(model, frontiers=[frontier(codes=(3, 5))]) == [("red", "not measured in this state")]
    assert said(model, frontiers=[frontier(examples=[3, 300])]) == [("red", "too few examples to tell")]
    again = [codes_digest({SITE: [3, 4]})] * 3  # swept after the mask: there is nothing before
    assert said(model, frontiers=[frontier(states=again)]) == [("red", "not measured in this state")]


def test_a_frontier_of_old_is_evidence_if_its_class_was_asked_for_once_and_as_it_was_made():
    def model(*requests):
        unlearner = Unlearner(tiny.codebook_t5((1,)), None)
        for i, (topic, thresholds) in enumerate(requests):
            unlearner.mask(Selection({SITE: [i]}, thresholds), topic)
        return unlearner

    asked = {"method": "activations", "count": 400}
    evidence = {"frontiers": [class_frontier()]}
    assert said(model(("red", asked)).model, **evidence) == [("red", "forgotten")]
    assert said(model(("red", asked | {"count": 7})).model, **evidence) == [("red", "not measured in this state")]
    assert said(model(("red", {"method": "fisher"})).model, **evidence) == [("red", "not measured in this state")]
    two = model(("red", asked), ("blue", asked))
    assert said(two.model, **evidence)[0] == ("red", "not measured in this state")
    deleted = model(("red", asked))
    deleted.delete_request(1)
    assert said(deleted.model, **evidence) == [("red", "forgotten")]


def test_a_sweep_is_evidence_by_the_step_that_is_in_force(tmp_path):
    unlearner = masked("teacher")
    steps = {8: scored(95, 60, removed=1, codes=[3]), 24: scored(95, 1, codes=[3, 4])}
    sweep = Sweep(
        "teacher", "teacher", {s: Evaluation.from_dict(e) for s, e in steps.items()}, {}, dict.fromkeys(steps, 0.1), 1.0
    )
    record = Record.of(unlearner.model, evaluations=[sweep])
    assert [one.label for one in record.verdicts] == ["forgotten"]
    assert [e.settings["top_s"] for e in record.evaluations] == [8, 24]
    assert all(not e.outputs and e.texts == sweep.evaluations[8].texts for e in record.evaluations)
    record.save(tmp_path / "record")
    assert Record.load(tmp_path / "record").verdicts == record.verdicts
    other = replace(sweep, evaluations={8: sweep.evaluations[8]})
    assert said(unlearner.model, other) == [("teacher", "not measured in this state")]


def test_a_record_stays_true_of_the_model_that_is_shared_and_of_no_other(make_model, tokenizer, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3, 4]}), "teacher")
    record = Record.of(unlearner.model, evaluations=[scored(95, 1, codes=[3, 4])])
    for name, options in {"delete": {}, "mask": {"mode": "mask"}, "compact": {"compact": True}}.items():
        written = unlearner.save_bundle(tmp_path / name, record, **options)
        assert [one.label for one in written.verdicts] == ["forgotten"], name
        read = Record.load(tmp_path / name / "report")
        assert read.verdicts == written.verdicts
    again = Unlearner.from_pretrained(tmp_path / "compact")
    assert [one.label for one in read.for_model(again.model, mode="delete").verdicts] == ["forgotten"]
    unlearner.mask(Selection({SITE: [9]}), "water")
    written = unlearner.save_bundle(tmp_path / "more", record, compact=True)
    assert [one.label for one in written.verdicts] == ["not measured in this state", "not measured"]


# What was evaluated there was the first request alone; the second followed.
BUNDLES = {
    "codebook_clip": ["not measured", "not measured"],
    "codebook_t5": ["not measured in this state", "not measured"],
    "key_value": ["not measured", "not measured"],
}


def test_records_of_version_0_1_have_verdicts(root):
    fixtures = root / "tests" / "fixtures" / "version_0_1"
    folders = [fixtures / "record", *(bundle / "report" for bundle in sorted((fixtures / "bundles").iterdir()))]
    folders += [
        root / "model_cards" / name / "report" for name in ("cifar10-clip-codebook", "cifar10-resnet50-key-value")
    ]
    labels = {
        folder.relative_to(root).as_posix(): [v.label for v in Record.load(folder).verdicts] for folder in folders
    }
    assert labels["model_cards/cifar10-clip-codebook/report"] == ["forgotten"]
    assert labels["model_cards/cifar10-resnet50-key-value/report"] == ["forgotten"]
    assert labels["tests/fixtures/version_0_1/record"] == ["forgotten"]
    bundles = {name: labels[f"tests/fixtures/version_0_1/bundles/{name}/report"] for name in BUNDLES}
    assert bundles == BUNDLES


def test_a_verdict_is_json_for_scripts():
    (verdict,) = Record.of(masked("teacher").model, evaluations=[scored(95, 1, bottleneck_left_out=90)]).verdicts
    state = json.loads(json.dumps(verdict.to_dict()))
    assert (state["topic"], state["outcome"], state["comes_back"]) == ("teacher", "forgotten", True)
    assert state["shares"]["after"] == dict(zip(Share._fields, Share.of(1, 100), strict=True))
    assert verdicts(Record.of(masked().model).state) == ()


def test_a_title_counts_many_topics():
    topics = [f"topic {i}" for i in range(9)]
    record = Record.of(masked(*topics).model, evaluations=[scored(95, 1, removed=18, topic="topic 0")])
    assert headline(record.verdicts) == "Forgetting not measured: 8 topics. Forgotten: 1 topic"


def test_a_measured_frontier_knows_the_codes_of_each_of_its_points():
    with_states = Frontier.from_dict(frontier())
    assert Frontier.from_dict(json.loads(json.dumps(with_states.to_dict()))) == with_states
    assert "states" not in Frontier.from_dict(class_frontier()).to_dict()
