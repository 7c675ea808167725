"""The table of codes, what is selected from it, and the random codes beside it."""

import json

import numpy as np
import pytest

from excise.codes.enrichment import CountTable, Enrichment, Selection, enrich_counts, random_like
from excise.statistics import benjamini_hochberg

SITE, OTHER = "encoder.block.2", "encoder.block.3"


def paired_table(target_only, control_only, both, examples=500, **retain) -> CountTable:
    target_only, control_only, both = (np.array(count) for count in (target_only, control_only, both))
    return CountTable(both + target_only, both + control_only, examples, examples, target_only, control_only, **retain)


@pytest.fixture
def table() -> CountTable:
    """Five codes: clear, unseen, reversed, weak, and clear but common in retain."""
    return paired_table(
        [40, 0, 0, 5, 30], [0, 0, 40, 0, 0], [10, 0, 0, 3, 20], retain_count=np.array([1, 9, 0, 0, 80]), num_retain=1000
    )


def enriched(counts, method="mcnemar", top_s=8, positions="topic") -> Enrichment:
    return enrich_counts(counts, method, top_s=top_s, positions=positions)


def test_the_table_has_one_row_per_seen_code_with_its_frequencies(table):
    enrichment = enriched({SITE: table})
    assert enrichment.code.tolist() == [0, 2, 3, 4]
    assert enrichment.target_count.tolist() == [50, 0, 8, 50]
    np.testing.assert_array_equal(enrichment.target_frequency, [0.1, 0.0, 0.016, 0.1])
    np.testing.assert_array_equal(enrichment.control_frequency, [0.02, 0.08, 0.006, 0.04])
    np.testing.assert_array_equal(enrichment.retain_frequency, [0.001, 0.0, 0.0, 0.08])
    assert np.sign(enrichment.log2_ratio).tolist() == [1, -1, 1, 1]
    np.testing.assert_allclose(enrichment.pvalue[0], 2 * 0.5**40, rtol=1e-9)


def test_q_values_are_joint_over_the_rows_of_all_sites(table):
    retain = {"retain_count": np.zeros(3, np.int64), "num_retain": 1000}
    other = paired_table([1, 1, 2], [1, 1, 2], [0, 0, 0], **retain)
    one, two = enriched({SITE: table}), enriched({SITE: table, OTHER: other})
    assert two.site.tolist() == [SITE] * 4 + [OTHER] * 3
    np.testing.assert_array_equal(two.pvalue[:4], one.pvalue)
    np.testing.assert_array_equal(two.qvalue, benjamini_hochberg(two.pvalue))
    assert two.qvalue[0] > one.qvalue[0]


def test_selection_keeps_what_is_enriched_and_significant(table):
    selection = enriched({SITE: table}).select(q=0.05)
    assert selection.codes == {SITE: (0, 4)}
    assert len(selection) == selection.num_codes == 2
    expected = {"method": "mcnemar", "top_s": 8, "positions": "topic", "q": 0.05, "effect": 0.0, "count": None}
    assert expected.items() <= selection.thresholds.items()


def test_selection_honours_effect_count_and_retain_ratio(table):
    enrichment = enriched({SITE: table})
    assert enrichment.select(q=0.2).codes == {SITE: (0, 3, 4)}
    assert enrichment.select(q=0.2, effect=0.06).codes == {SITE: (0, 4)}
    assert enrichment.select(q=0.2, effect=0.07).codes == {SITE: (0,)}
    assert enrichment.select(q=0.2, count=1).codes == {SITE: (0,)}
    assert enrichment.select(q=0.2, max_retain_ratio=0.25).codes == {SITE: (0, 3)}
    assert enrichment.select(q=0.2, max_retain_ratio=0.8).codes == {SITE: (0, 3, 4)}


def test_an_effect_of_exactly_the_floor_passes_despite_rounding():
    enrichment = enriched({SITE: paired_table([5], [0], [10])})
    assert enrichment.target_frequency[0] - enrichment.control_frequency[0] < 0.01
    assert enrichment.select(q=1.0, effect=0.01).codes == {SITE: (0,)}


def test_count_takes_the_smallest_p_and_then_the_largest_ratio_over_all_sites():
    # All three have p = 2 * 0.5 ** 20; the one without a shared background has the largest ratio.
    counts = {SITE: paired_table([20, 20], [0, 0], [30, 5]), OTHER: paired_table([20, 19], [0, 0], [0, 0])}
    assert enriched(counts).select(count=1).codes == {OTHER: (0,)}
    assert enriched(counts).select(count=2).codes == {SITE: (1,), OTHER: (0,)}


def test_the_paper_selects_by_p_where_the_others_select_by_q():
    rng = np.random.default_rng(0)
    counts = {SITE: CountTable(rng.binomial(500, 0.02, 2000), rng.binomial(500, 0.02, 2000), 500, 500)}
    paper, chi2 = enriched(counts, "paper"), enriched(counts, "chi2")
    np.testing.assert_array_equal(paper.pvalue, chi2.pvalue)
    expected = paper.code[(paper.pvalue <= 0.05) & (paper.log2_ratio > 0)]
    assert paper.select().codes == {SITE: tuple(expected.tolist())}
    assert len(expected) > 20
    assert len(chi2.select()) == 0


def test_an_empty_selection_is_legal_and_says_so(table):
    selection = enriched({SITE: table}).select(effect=0.9)
    assert selection.codes == {}
    assert len(selection) == 0
    assert "nothing was selected" in repr(selection)
    assert "effect=0.9" in repr(selection)


def test_a_set_in_which_no_code_fires_gives_an_empty_table_that_saves(tmp_path):
    enrichment = enriched({SITE: paired_table([0, 0], [0, 0], [0, 0])})
    assert len(enrichment) == 0
    assert "0 codes" in repr(enrichment)
    enrichment.save(tmp_path / "empty.parquet")
    assert len(Enrichment.load(tmp_path / "empty.parquet").select()) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("q", 0.0),
        ("q", 1.5),
        ("q", float("nan")),
        ("effect", -0.1),
        ("effect", 2),
        ("effect", float("nan")),
        ("count", 0),
        ("max_retain_ratio", -1.0),
        ("max_retain_ratio", float("nan")),
    ],
)
def test_thresholds_out_of_range_are_refused_by_name(table, name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        enriched({SITE: table}).select(**{name: value})


def test_a_retain_ratio_without_retain_counts_is_refused():
    with pytest.raises(ValueError, match="retain"):
        enriched({SITE: paired_table([20], [0], [0])}).select(max_retain_ratio=0.5)


@pytest.mark.parametrize("method", ["mcnemar", "fisher", "chi2", "paper"])
def test_a_saved_table_comes_back_the_same(table, method, tmp_path):
    enrichment = enriched({SITE: table, "decoder": table}, method)
    enrichment.save(tmp_path / "new" / "codes.parquet")
    again = Enrichment.load(tmp_path / "new" / "codes.parquet")
    assert vars(again).keys() == vars(enrichment).keys()
    for name, value in vars(enrichment).items():
        np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)
    assert again.select().to_dict() == enrichment.select().to_dict()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["codes.parquet"]


def test_a_save_that_fails_leaves_the_older_file_and_no_partial_one(table, tmp_path, monkeypatch):
    path = tmp_path / "codes.parquet"
    enriched({SITE: table}).save(path)
    before = path.read_bytes()

    def interrupted(_, partial):
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("pyarrow.parquet.write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        enriched({SITE: table}, "fisher").save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_parquet_file_is_not_loaded(table, tmp_path):
    enriched({SITE: table}).to_pandas().to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="not an enrichment table"):
        Enrichment.load(tmp_path / "other.parquet")


def test_the_repr_shows_ten_rows_the_most_significant_first():
    enrichment = enriched({SITE: paired_table(range(1, 16), [0] * 15, [0] * 15)})
    lines = repr(enrichment).splitlines()
    assert "15 codes" in lines[0]
    assert len(lines) == 12
    assert [int(line.split()[1]) for line in lines[2:]] == list(range(14, 4, -1))


def test_mcnemar_without_pairs_says_what_to_do():
    with pytest.raises(ValueError, match=r"pair each target.*fisher"):
        enriched({SITE: CountTable(np.array([3]), np.array([1]), 10, 10)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_target": 0}, "empty"),
        ({"target_count": np.array([3.0, 1.0])}, "integers"),
        ({"control_count": np.array([1])}, "shape"),
        ({"target_count": np.array([30, 1])}, "not its tokens"),
        ({"target_count": np.array([-1, 1])}, "ranges from -1"),
        ({"target_only": np.array([1, 1])}, "belong together"),
        ({"retain_count": np.array([1, 1])}, "belong together"),
        ({"target_only": np.array([5, 0]), "control_only": np.array([0, 0])}, "must equal"),
        ({"num_control": 9, "target_only": np.array([2, 0]), "control_only": np.array([0, 0])}, "need pairs"),
    ],
)
def test_counts_that_cannot_be_are_refused(fields, message):
    good = {"target_count": np.array([3, 1]), "control_count": np.array([1, 1]), "num_target": 10, "num_control": 10}
    CountTable(**good)
    with pytest.raises(ValueError, match=message):
        CountTable(**good | fields)


def test_unknown_settings_and_mismatched_sites_are_refused(table):
    with pytest.raises(ValueError, match="expected one of mcnemar"):
        enriched({SITE: table}, method="t-test")
    with pytest.raises(ValueError, match="positions"):
        enriched({SITE: table}, positions="some")
    with pytest.raises(ValueError, match="top_s=0"):
        enriched({SITE: table}, top_s=0)
    with pytest.raises(ValueError, match="at least one site"):
        enriched({})
    with pytest.raises(ValueError, match="different sets"):
        enriched({SITE: table, OTHER: paired_table([1], [0], [0], examples=400)})


def test_a_selection_survives_json(table):
    selection = enriched({SITE: table}).select(q=0.05, effect=0.01)
    assert Selection.from_dict(json.loads(json.dumps(selection.to_dict()))) == selection
    with pytest.raises(ValueError, match="thresholds"):
        Selection.from_dict({"codes": {}})


def usage(num_codes: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return (rng.pareto(1.0, num_codes) * 100).astype(np.int64), rng.random(num_codes) < 0.9


def test_random_codes_are_live_unselected_distinct_and_of_like_frequency():
    frequency, live = usage()
    selected = np.flatnonzero(live & (frequency > 200))[:150]
    drawn = random_like(Selection({SITE: selected}), {SITE: frequency}, {SITE: live}, seed=0)
    codes = np.array(drawn.codes[SITE])
    assert len(drawn) == len(set(codes)) == len(selected)
    assert live[codes].all()
    assert not set(codes) & set(selected)
    ratio = np.sort(frequency[codes]) / np.sort(frequency[selected])
    assert 0.8 < np.median(ratio) < 1.25
    # Unmatched draws would have this median; matched ones must not.
    assert np.median(frequency[codes]) > 2 * np.median(frequency[live])


def test_random_codes_depend_on_the_seed_alone():
    frequency, live = usage()
    selection = Selection({SITE: range(50), OTHER: [3]}, {"q": 0.05})
    draw = [
        random_like(selection, {SITE: frequency, OTHER: frequency}, {SITE: live, OTHER: live}, s) for s in (0, 0, 1)
    ]
    assert draw[0] == draw[1]
    assert draw[0].codes != draw[2].codes
    assert draw[0].thresholds == {"method": "random", "seed": 0, "like": {"q": 0.05}}


def test_random_codes_of_equal_frequency_are_drawn_evenly_over_the_ids():
    frequency, live = np.zeros(1000, np.int64), np.ones(1000, bool)
    drawn = [
        random_like(Selection({SITE: [0]}), {SITE: frequency}, {SITE: live}, seed).codes[SITE][0] for seed in range(60)
    ]
    assert min(drawn) < 200 < 800 < max(drawn)


def test_exactly_as_many_live_codes_as_needed_are_all_drawn_and_fewer_are_refused():
    frequency, live = np.array([5, 5, 0, 900, 7]), np.array([True, True, True, True, False])
    drawn = random_like(Selection({SITE: [0, 1]}), {SITE: frequency}, {SITE: live}, seed=0)
    assert drawn.codes == {SITE: (2, 3)}
    with pytest.raises(ValueError, match="3 random codes are needed"):
        random_like(Selection({SITE: [0, 1, 2]}), {SITE: frequency}, {SITE: live}, seed=0)


def test_random_codes_refuse_unknown_sites_and_wrong_shapes():
    frequency, live = usage(10)
    selection = Selection({SITE: [1]})
    with pytest.raises(ValueError, match="must both have it"):
        random_like(selection, {SITE: frequency}, {}, seed=0)
    with pytest.raises(ValueError, match="boolean"):
        random_like(selection, {SITE: frequency}, {SITE: live.astype(int)}, seed=0)
    with pytest.raises(ValueError, match="codes 0 to 9 only"):
        random_like(Selection({SITE: [10]}), {SITE: frequency}, {SITE: live}, seed=0)
    with pytest.raises(ValueError, match="negative"):
        Selection({SITE: [-1]})


def test_nothing_selected_draws_nothing():
    assert len(random_like(Selection({}), {}, {}, seed=0)) == 0


def test_of_very_many_codes_random_ones_are_drawn_at_once_and_are_as_often_used():
    rng = np.random.default_rng(0)
    frequency, live = rng.poisson(rng.gamma(1.0, 5.0, 80_000)), rng.random(80_000) < 0.9
    selected = np.sort(rng.permutation(np.flatnonzero(live & (frequency > 3)))[:12_000])
    drawn = [random_like(Selection({SITE: selected}), {SITE: frequency}, {SITE: live}, seed) for seed in (0, 0, 1)]
    codes = np.array(drawn[0].codes[SITE])
    assert len(set(codes)) == 12_000 and live[codes].all() and not set(codes) & set(selected)
    quantiles = np.linspace(0, 1, 21)
    np.testing.assert_allclose(
        np.quantile(frequency[codes], quantiles), np.quantile(frequency[selected], quantiles), atol=1, rtol=0.1
    )
    assert drawn[0] == drawn[1] != drawn[2]
    few = live.copy()
    few[np.setdiff1d(np.arange(80_000), selected)[11_999:]] = False  # one too few are left
    with pytest.raises(ValueError, match="12000 random codes are needed"):
        random_like(Selection({SITE: selected}), {SITE: frequency}, {SITE: few}, seed=0)
