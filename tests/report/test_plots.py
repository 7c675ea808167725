import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from excise.codes.selection import Selection
from excise.report import Evaluation, Record, Sweep, plot_frontier, plot_sweep
from excise.report.frontier_drawing import series
from excise.report.frontier_in_page import drawing
from excise.report.plots import plot_volcano
from excise.report.plotting import COLOURS
from excise.report.volcano import volcano
from excise.unlearner import Unlearner
from tests.helpers.evidence import SITE, class_frontier, enrichment_of, selection_in_rounds, text_evaluation


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


def test_each_condition_that_was_measured_is_a_point_of_its_own_look(forgetful):
    state = text_evaluation()
    for name in ("bottleneck left out", "topic-matched random codes", "base model"):
        state["scores"][name] = state["scores"]["before"]
    measured = Record.of(forgetful, evaluations=[state]).measured
    drawn = ["before", "after", "bottleneck left out", "random codes", "topic-matched random codes"]
    assert [one.kind for one in series(measured)] == drawn
    labels = [one["label"] for one in drawing(measured)["key"]]
    assert labels[2:] == [
        "bottleneck left out",
        "as many random codes removed",
        "as many random codes removed, as often used in the topic",
    ]


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
    svg = ElementTree.fromstring(drawn["svg"])
    left, top, right, bottom = frame(svg)
    marks = {mark.get("aria-label"): mark for mark in svg.iter("use") if mark.get("role") == "img"}
    assert len(drawn["points"]) == len(marks) == 4 + 3 and len(lines(svg)) == 1
    places = {label.split(":")[0]: (float(mark.get("x")), float(mark.get("y"))) for label, mark in marks.items()}
    for x, y in places.values():
        assert left <= x <= right and top <= y <= bottom
    assert places["teacher, after"][0] < places["teacher, before"][0]
    assert places["teacher, after"][1] > places["teacher, before"][1]


def test_each_point_of_the_drawing_says_what_it_is(record):
    svg = ElementTree.fromstring(drawing(record.measured)["svg"])
    for mark in svg.iter("use"):
        if mark.get("role") == "img":
            assert mark.get("tabindex") == "0" and mark.find("title").text == mark.get("aria-label")
    labels = [mark.get("aria-label") for mark in svg.iter("use")]
    assert "teacher, after: 14.3 % of the topic left, 98.0 % of all else" in labels
    assert "red by activations, 300 codes removed: 0.0 % of the topic left, 93.8 % of all else" in labels


def test_the_drawing_has_the_colours_of_the_page_and_names_of_its_own(record):
    drawn = drawing(record.measured)
    svg = ElementTree.fromstring(drawn["svg"])
    styles = " ".join(node.get("style", "") for node in svg.iter())
    assert not set(re.findall("#[0-9a-fA-F]{6}", styles)) - set(COLOURS)  # those are mixed with the colour of text
    assert "font-family" not in styles and not list(svg.iter("style")) and not list(svg.iter("metadata"))
    names = [node.get("id") for node in svg.iter() if "id" in node.attrib]
    assert len(set(names)) == len(names) and all(name.startswith("frontier-") for name in names)
    used = re.findall(r'(?:href="|url\()#([^")]+)', drawn["svg"]) + [one["href"][1:] for one in drawn["key"]]
    assert set(used) <= set(names)
    assert [one["label"] for one in drawn["key"]] == [
        "red by activations: more and more codes",
        "before",
        "after",
        "as many random codes removed",
    ]


def frame(svg) -> tuple[float, float, float, float]:
    """Where the axes are: left, top, right, bottom."""
    (clip,) = svg.iter("clipPath")
    x, y, width, height = (float(clip.find("rect").get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def lines(svg) -> list:
    """The lines through points that say what they are."""
    groups = [group for group in svg.iter("g") if group.get("id", "").startswith("frontier-series-")]
    return [path for group in groups for path in group.findall("path")]


def test_topics_are_named_where_their_points_stand_apart(forgetful):
    def names(*after):
        evaluations = []
        for topic, recall in after:
            evaluation = text_evaluation(topic)
            evaluation["scores"]["after"]["heldout"]["recall"] = recall
            evaluations.append(evaluation)
        svg = ElementTree.fromstring(drawing(Record.of(forgetful, evaluations=evaluations).measured)["svg"])
        return [text.text for text in svg.iter("text") if text.text in dict(after)]

    assert names(("a", 0.0), ("b", 0.5)) == ["a", "b"]
    assert names(("a", 0.0), ("b", 0.01), ("c", 0.5)) == ["c"]
    assert names(("a", 0.0)) == []


@pytest.mark.parametrize("topic", ["$x^2$", "$\\frac$", "_hidden", "a\x07b", "a\ufffeb", "<b>&", "US$ or $"])
def test_any_topic_is_drawn_as_it_is(forgetful, tmp_path, topic):
    evaluations = [text_evaluation(topic), text_evaluation("other")]
    evaluations[0]["scores"]["after"]["heldout"]["recall"] = 0.6
    record = Record.of(
        forgetful, evaluations=evaluations, frontiers=[class_frontier(topic)], enrichments={topic: enrichment_of()}
    )
    shown = re.sub("[\ufffe\x07]", " ", topic)
    drawn = drawing(record.measured)
    assert shown in [text.text for text in ElementTree.fromstring(drawn["svg"]).iter("text")]
    plot_frontier(record.measured, tmp_path / "frontier.svg")
    assert f"{shown} by activations: more and more codes" in words(tmp_path / "frontier.svg")
    plot_volcano(record.state["enrichments"][0], enrichment_of(), tmp_path / "volcano.svg")
    assert any(text.startswith(f"Codes of {topic!r}:") for text in words(tmp_path / "volcano.svg"))


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


def test_the_step_of_a_sweep_that_is_in_force_is_marked(forgetful, tmp_path):
    steps = {s: Evaluation.from_dict(text_evaluation() | {"removed": n}) for s, n in ((8, 1), (24, 2))}
    chosen = Selection({SITE: [3]}, {"method": "mcnemar", "positions": "topic", "q": 0.05})
    made = Sweep("teacher", "teacher", steps, dict.fromkeys(steps, chosen), dict.fromkeys(steps, 0.1), 1.0)
    plot_sweep(made, tmp_path / "marked.svg", in_force=Record.of(forgetful).in_force)
    plot_sweep(made, tmp_path / "plain.svg")
    assert words(tmp_path / "marked.svg").count("in force") == 2  # in both panels
    assert "in force" not in words(tmp_path / "plain.svg")


def test_codes_of_another_round_are_drawn_apart(make_model, tokenizer, tmp_path):
    model = make_model()
    Unlearner(model, tokenizer).mask(selection_in_rounds(), "teacher")
    record = Record.of(model, enrichments={"teacher": selection_in_rounds()})
    for number, entry in enumerate(record.state["enrichments"], 1):
        plot_volcano(entry, record.enrichments[entry["file"]], tmp_path / "volcano.svg")
        said = words(tmp_path / "volcano.svg")
        assert f"Codes of 'teacher', round {number} of 2: 40 examples with it, 40 without" in said
        assert f"{3 - number} removed, chosen here" in said and f"{number} removed, chosen from another table" in said
