"""Searches, presets, and forgetting in one call."""

import json
from dataclasses import replace

import pytest

from excise import Selection, Unlearner, class_sets
from excise.bottlenecks.site import bottlenecks
from excise.codes.search import PRESETS, Search
from excise.ledger.packing import unpack
from tests.helpers import tiny

SITE = "encoder.block.1"
EASY = Search(q=1.0, multiple=1)


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(num_codes=64), tokenizer)


def test_one_search_chooses_what_its_parts_do_by_hand(unlearner, topic):
    chosen = unlearner.choose(topic, Search(method="fisher", q=0.5, multiple=2), progress=False)
    by_hand = unlearner.enrich(topic, method="fisher", top_s=2 * 2, progress=False).select(q=0.5)
    assert chosen == by_hand


def test_several_searches_choose_what_any_of_them_finds(unlearner, topic):
    searches = EASY, Search(positions="all", q=0.9)
    parts = [set(unlearner.choose(topic, search, progress=False).codes.get(SITE, ())) for search in searches]
    both = unlearner.choose(topic, searches, progress=False)
    assert set(both.codes[SITE]) == parts[0] | parts[1]
    assert [search["positions"] for search in both.thresholds["searches"]] == ["topic", "all"]
    assert json.loads(json.dumps(both.to_dict())) == both.to_dict()


def test_a_smaller_s_is_selected_from_the_same_counts(unlearner, topic):
    counts = unlearner.count(topic, EASY, max_top_s=8, progress=False)
    assert counts.select(3) == unlearner.choose(topic, EASY, top_s=3, progress=False)
    assert counts.select(3).codes == unlearner.enrich(topic, top_s=3, progress=False).select(q=1.0).codes


def test_a_number_of_codes_takes_the_surest_of_all_searches(unlearner, topic):
    searches = EASY, Search(positions="all", q=1.0)
    counts = unlearner.count(topic, searches, progress=False)
    every, some = counts.select(), counts.select(count=3)
    pvalues = {
        code: min(p for table in tables for c, p in zip(table.code, table.pvalue, strict=True) if c == code)
        for tables in [[table.enrich(s.multiple * 2) for s, table in zip(searches, counts.counts, strict=True)]]
        for code in every.codes[SITE]
    }
    assert some.num_codes == 3
    assert max(pvalues[code] for code in some.codes[SITE]) <= min(
        pvalues[code] for code in every.codes[SITE] if code not in some.codes[SITE]
    )


def test_the_retain_set_is_counted_for_the_searches_that_ask_for_it(unlearner, topic):
    assert not unlearner.count(topic, EASY, progress=False).counts[0].retain
    strict = Search(q=1.0, max_retain_ratio=0.0)
    chosen = unlearner.choose(topic, strict, progress=False)
    used = unlearner.count_topic(topic, retain=True, max_top_s=6, progress=False).retain[SITE].example_counts(6)
    assert all(used[code] == 0 for code in chosen.codes.get(SITE, ()))


def test_forgetting_masks_what_is_chosen_and_the_ledger_names_the_preset(unlearner, topic):
    searches = Search(q=1.0, count=3)
    request = unlearner.forget(topic, searches, progress=False)
    with unlearner.without_masks():
        assert request.codes == unlearner.choose(topic, searches, progress=False).codes
    assert request.data == topic.digest()
    assert not bottlenecks(unlearner.model)[SITE].live[list(request.codes[SITE])].any()


def test_a_second_round_finds_what_takes_the_place_of_the_first_ones_codes(unlearner, topic):
    before = bottlenecks(unlearner.model)[SITE].live.clone()
    first = unlearner.choose(topic, EASY, progress=False)
    with unlearner.trial(first):
        second = unlearner.choose(topic, EASY, progress=False)
    both = unlearner.choose(topic, Search(q=1.0, multiple=1, rounds=2), progress=False)
    assert set(both.codes[SITE]) == {*first.codes[SITE], *second.codes[SITE]}
    assert both.thresholds["codes_by_round"] == [len(first), len(second)] and len(second)
    assert not set(first.codes[SITE]) & set(second.codes[SITE])
    assert bottlenecks(unlearner.model)[SITE].live.equal(before)
    with pytest.raises(ValueError, match="rounds=0: expected at least 1"):
        Search(rounds=0)


def test_the_class_token_of_a_class_of_images_is_searched_in_two_rounds():
    model, sets = tiny.codebook_clip(), class_sets(tiny.images(60), "red", min_examples=1)
    unlearner = Unlearner(model, tiny.image_processor())
    (search,) = PRESETS["class_token"]
    chosen = unlearner.choose(sets, replace(search, q=1.0, multiple=1, count=2), progress=False)
    first, second = chosen.thresholds["codes_by_round"]
    assert chosen.thresholds["positions"] == "class_token" and len(chosen) == first + second >= 1


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "class_token"])
def test_every_preset_runs_and_is_named_in_its_thresholds(unlearner, topic, name):
    chosen = unlearner.choose(topic, name, progress=False)
    assert isinstance(chosen, Selection)
    assert chosen.thresholds["preset"] == name


def test_the_paper_is_chi_squared_at_all_positions_and_thirteen_times_s(unlearner, topic):
    chosen = unlearner.choose(topic, "paper", progress=False)
    told = {name: chosen.thresholds[name] for name in ("method", "positions", "top_s", "q")}
    assert told == {"method": "paper", "positions": "all", "top_s": 13 * 2, "q": 0.05}


@pytest.mark.parametrize(("preset", "message"), [("papre", "expected one of default, paper"), ((), "No searches")])
def test_what_is_no_preset_is_refused(unlearner, topic, preset, message):
    with pytest.raises(ValueError, match=message):
        unlearner.choose(topic, preset, progress=False)


def test_counts_made_before_are_refused_where_a_search_needs_others(unlearner, topic):
    counts = unlearner.count_topic(topic, max_top_s=6, progress=False)
    for sets, search, message in [
        (topic, Search("examples", count=1), "counts the examples that it draws"),
        (topic, Search(q=1.0, multiple=1, rounds=2), "rounds=2: each counts anew"),
        (topic.target, Search("activations", count=1), "a Dataset is none"),
    ]:
        with pytest.raises(ValueError, match=message):
            unlearner.choose(sets, search, counts=counts, progress=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 2.5}, "count=2.5: expected at least 1, a whole number"),
        ({"count": 0}, "count=0: expected at least 1"),
        ({"count": True}, "count=True: expected"),
        ({"count": "3"}, "count='3': expected"),
        ({"seed": -1}, "seed=-1: expected at least 0"),
        ({"seed": None}, "seed=None: expected"),
        ({"multiple": 0}, "multiple=0: expected at least 1"),
        ({"multiple": 1.5}, r"multiple=1.5: expected"),
        ({"rounds": 1.5}, "rounds=1.5: expected at least 1"),
        ({"q": 2}, "q=2: expected a rate above 0 and at most 1"),
        ({"q": 0}, "q=0: expected a rate"),
        ({"effect": -0.1}, "effect=-0.1: expected a share"),
        ({"max_retain_ratio": -1}, "max_retain_ratio=-1: expected 0 or more"),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused_when_a_search_is_made(wrong, message):
    with pytest.raises(ValueError, match=message):
        Search(**wrong)


@pytest.mark.parametrize("ids", [[1.7], [2.0], ["3"], 3, [[1]]], ids=str)
def test_what_is_no_number_of_a_code_is_refused(ids):
    with pytest.raises(ValueError, match="Code ids are whole numbers"):
        Selection({SITE: ids})


@pytest.mark.parametrize("wrong", [{"effect": 0.1}, {"max_retain_ratio": 0.25}])
@pytest.mark.parametrize("method", ["activations", "examples"])
def test_a_search_without_a_test_refuses_thresholds_of_one(method, wrong):
    with pytest.raises(ValueError, match="tests nothing: leave out"):
        Search(method, count=1, **wrong)


def test_each_round_keeps_its_table_and_what_it_chose_from_it(unlearner, topic):
    two = Search(q=1.0, multiple=1, rounds=2)
    chosen = unlearner.choose(topic, two, tables=True, progress=False)
    assert chosen == unlearner.choose(topic, two, progress=False)
    first, second = chosen.steps
    assert (first.round, second.round) == (1, 2)
    with unlearner.trial(Selection(first.codes)):
        again = unlearner.enrich(topic, top_s=2, progress=False)
    assert second.table.to_pandas().equals(again.to_pandas())
    for step, noted in zip(chosen.steps, chosen.thresholds["rounds"], strict=True):
        assert Selection(step.codes).codes == {site: unpack(codes) for site, codes in noted["codes"].items()}
        assert step.thresholds == noted["thresholds"]
        frame = step.table.to_pandas()
        rows = frame[(frame.site == SITE) & frame.code.isin(step.codes[SITE])]
        assert len(rows) == len(step.codes[SITE]) and (rows.log2_ratio > 0).all()
    assert not unlearner.choose(topic, two, progress=False).steps
    assert Selection.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


def test_of_several_searches_each_keeps_its_table_and_of_those_without_a_test_none(unlearner, topic):
    one, other = Search(q=1.0, count=3), Search("fisher", positions="all", q=1.0, count=2)
    searches = one, other, Search("activations", count=4)
    steps = unlearner.choose(topic, searches, tables=True, progress=False).steps
    assert [(step.round, step.table.method) for step in steps] == [(1, "mcnemar"), (1, "fisher")]
    assert [sum(map(len, step.codes.values())) for step in steps] == [3, 2]
