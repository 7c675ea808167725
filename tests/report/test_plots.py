from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from excise.report import Record, plot_frontier, plot_volcano
from excise.report.frontier_drawing import drawing, series
from excise.report.volcano import volcano
from tests.helpers.evidence import SITE, class_frontier, enrichment_of, text_evaluation


def words(path):
    return [
        "".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.fixture
def entry(record):
    return record.state["enrichments"][0]


def test_a_volcano_has_ratio_against_surety_the_surest_first_and_removed_codes_marked():
    table = enrichment_of()
    points = volcano(table, {SITE: [3, 7]})
    assert table.code[points.rows[:2]].tolist() == [3, 7]
    assert points.selected.tolist() == [True, True] + [False] * 30
    assert np.allclose(points.ratio, table.log2_ratio[points.rows])
    assert np.allclose(points.heights, -np.log10(table.qvalue[points.rows]))
    assert points.value == "q" and not points.endless


def test_codes_are_removed_at_their_own_site_only():
    assert not volcano(enrichment_of(), {"another": [3, 7]}).selected.any()


def test_the_papers_rule_is_drawn_by_its_p_values():
    table = replace(enrichment_of(), method="paper", pvalue=np.full(32, 0.01))
    points = volcano(table, {})
    assert points.value == "p" and np.allclose(points.surety, 2)


def test_a_value_of_zero_is_drawn_just_above_all_else(tmp_path, entry):
    values = np.full(32, 1e-300)
    values[5] = 0
    table = replace(enrichment_of(), qvalue=values)
    points = volcano(table, {})
    assert points.endless and np.isfinite(points.heights).all()
    assert points.heights.max() == points.heights[points.rows == 5] > 300
    plot_volcano(entry, table, tmp_path / "volcano.svg")
    assert "q = 0 in floating point" in words(tmp_path / "volcano.svg")
    plot_volcano(entry, enrichment_of(), tmp_path / "finite.svg")
    assert "q = 0 in floating point" not in words(tmp_path / "finite.svg")


def test_of_too_many_codes_the_surest_and_a_part_of_the_rest_are_drawn():
    table = enrichment_of()
    points = volcano(table, {SITE: [3, 7]}, most=12)
    assert len(points.rows) == len(set(points.rows.tolist())) == 12 and points.total == 32
    every = volcano(table, {})
    assert points.rows[:8].tolist() == every.rows[:8].tolist()
    assert points.rows[-1] == every.rows[-1]


def test_what_is_left_is_in_percent_of_before(record):
    line, before, after, random = series(record.measured)
    assert [place[:2] for place in line.places[:2]] == [(100, 100), (100 * 0.5 / 0.9, 100)]
    assert before.places[0][:2] == (100, 100)
    assert after.places[0][:2] == pytest.approx((100 * 0.1 / 0.7, 100 * 30.1 / 30.7))
    assert random.places[0][:2] == pytest.approx((100, 100 * 31.9 / 30.7))


def test_what_has_nothing_before_is_not_in_the_figure(forgetful, tmp_path):
    deleted = text_evaluation()
    del deleted["scores"]["before"]
    nothing = class_frontier() | {"points": [[0, 0, 0.0, 0.8], [1, 1, 0.0, 0.8]]}
    results = Record.of(forgetful, evaluations=[deleted], frontiers=[nothing]).measured
    assert series(results) == [] and drawing(results) is None
    with pytest.raises(ValueError, match="no frontier to draw"):
        plot_frontier(results, tmp_path / "frontier.svg")
    assert list(tmp_path.iterdir()) == []


def test_the_drawing_stays_within_its_frame(record):
    drawn = drawing(record.measured)
    left, top, right, bottom = drawn["frame"]
    assert len(drawn["points"]) == 4 + 3 and len(drawn["lines"]) == 1
    for point in drawn["points"]:
        assert left <= point["x"] <= right and top <= point["y"] <= bottom
    by_label = {point["label"]: point for point in drawn["points"]}
    assert by_label["teacher, after"]["x"] < by_label["teacher, before"]["x"]
    assert by_label["teacher, after"]["y"] > by_label["teacher, before"]["y"]


def test_topics_are_named_where_their_points_stand_apart(forgetful):
    def names(*after):
        evaluations = []
        for topic, recall in after:
            evaluation = text_evaluation(topic)
            evaluation["scores"]["after"]["heldout"]["recall"] = recall
            evaluations.append(evaluation)
        return [name for _, _, name in drawing(Record.of(forgetful, evaluations=evaluations).measured)["names"]]

    assert names(("a", 0.0), ("b", 0.5)) == ["a", "b"]
    assert names(("a", 0.0), ("b", 0.01), ("c", 0.5)) == ["c"]
    assert names(("a", 0.0)) == []


def test_the_figures_say_what_their_axes_are(record, entry, tmp_path):
    plot_volcano(entry, enrichment_of(), tmp_path / "volcano.svg")
    written = words(tmp_path / "volcano.svg")
    assert "-log10 of the q-value (mcnemar)" in written and "2 codes removed" in written
    assert "30 other codes" in written and "Codes of 'teacher': 40 examples with it, 40 without" in written
    plot_frontier(record.measured, tmp_path / "frontier.svg")
    written = words(tmp_path / "frontier.svg")
    for label in (
        "left of the topic (% of before)",
        "before",
        "after",
        "random codes",
        "red by activations: more and more codes",
    ):
        assert label in written


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_record_gives_the_same_bytes(record, entry, tmp_path, suffix):
    for name in "ab":
        plot_volcano(entry, enrichment_of(), tmp_path / f"volcano-{name}.{suffix}")
        plot_frontier(record.measured, tmp_path / f"frontier-{name}.{suffix}")
    for figure in ("volcano", "frontier"):
        picture = (tmp_path / f"{figure}-a.{suffix}").read_bytes()
        assert picture == (tmp_path / f"{figure}-b.{suffix}").read_bytes()
        assert picture.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def test_a_volcano_of_25_000_codes_is_a_small_file(entry, tmp_path):
    rng = np.random.default_rng(0)
    table = replace(enrichment_of(25_000), log2_ratio=rng.normal(size=25_000), qvalue=rng.uniform(1e-9, 1, size=25_000))
    plot_volcano(entry, table, tmp_path / "volcano.svg")
    assert (tmp_path / "volcano.svg").stat().st_size < 500_000


def test_other_kinds_of_picture_are_refused(record, entry, tmp_path):
    for draw in (lambda p: plot_volcano(entry, enrichment_of(), p), lambda p: plot_frontier(record.measured, p)):
        with pytest.raises(ValueError, match=r"\.svg or \.png"):
            draw(tmp_path / "figure.gif")
    assert list(tmp_path.iterdir()) == []
