import pytest

from excise.codes.search import Search
from excise.evaluation import examples_table, runtimes, sweep, topics_table
from excise.evaluation.tables import marked
from excise.report.markdown import markdown


@pytest.fixture
def table(unlearner, topic, generation, planted):
    return topics_table(unlearner, [topic], top_s=3, reference_model="reference", progress=False)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_topic_has_both_sets_under_every_condition(table):
    frame = table.to_pandas()
    assert list(frame["set"]) == ["heldout"] * 6 + ["heldout_retain"] * 6
    drawn = ["random codes", "topic-matched random codes"]
    assert list(frame["condition"]) == ["before", "after", "bottleneck left out", *drawn, "reference model"] * 2
    assert set(frame["codes"]) == {3}


def test_normalised_drops_are_0_before_and_100_at_the_reference_model(table):
    frame = table.to_pandas().set_index(["set", "condition"])
    assert frame.loc[("heldout", "before"), "bleu_drop"] == pytest.approx(0)
    assert frame.loc[("heldout", "reference model"), "bleu_drop"] == pytest.approx(100)
    assert frame.loc[("heldout", "after"), "recall_drop"] == pytest.approx(100)
    assert frame.loc[("heldout", "random codes"), "recall_drop"] == pytest.approx(0)
    assert frame.loc[("heldout_retain", "after"), "bleu_drop"] == pytest.approx(0)
    assert frame.loc[("heldout", "after"), "high"] < 1


def test_markdown_has_the_paper_s_sign_and_the_control_beside_it(table):
    lines = table.to_markdown().splitlines()
    assert cells(lines[0])[:4] == ["Topic (codes)", "Set (n)", "Model", "BLEU"]
    before, after, left_out, random, matched = (cells(line) for line in lines[2:7])
    assert before[:4] == ["teacher (3)", "D'_T (4)", "before", "100.0"]
    assert after[2] == "after" and "(-" in after[3]
    assert left_out[2:4] == ["bottleneck left out", "100.0 (+0.0)"]
    assert random[2:4] == ["random codes", "100.0 (+0.0)"]
    assert matched[2:4] == ["topic-matched random codes", "100.0 (+0.0)"]
    assert "teacher: Firings in the topic's 12 and 12 other examples: the removed codes " in lines[-1]
    assert "-100 the reference model" in lines[-1]
    assert str(table) == table.to_markdown()


def test_without_a_reference_model_changes_from_before_are_given(unlearner, topic, generation, planted):
    table = topics_table(unlearner, [topic], progress=False)
    assert table.top_s == 3 * 2
    assert "change from the model before in percent" in table.to_markdown()
    assert "(-" in table.to_markdown().splitlines()[3]


def test_a_reference_model_by_topic_serves_that_topic_alone(unlearner, topic, generation, planted):
    models = {"love": "reference"}
    table = topics_table(unlearner, [topic], reference_model=models, progress=False)
    assert "reference model" not in table.evaluations[0].scores


def test_a_table_is_at_its_preset_s_own_s(unlearner, topic, generation, planted):
    assert topics_table(unlearner, [topic], preset=Search(multiple=5), progress=False).top_s == 5 * 2


def test_a_table_of_no_topics_is_refused(unlearner):
    with pytest.raises(ValueError, match="No topics"):
        topics_table(unlearner, [])


def test_examples_show_what_changed_in_bold_at_each_step_and_under_random_codes(unlearner, topic, generation, planted):
    swept = sweep(unlearner, topic, top_s=(1, 3), progress=False)
    lines = [cells(line) for line in str(examples_table(swept.evaluations, rows=1)).splitlines()]
    assert lines[2:] == [
        ["Text", "the teacher sees a book ."],
        ["Reference", "le professeur lit un livre ."],
        ["Codebook model", "le professeur lit un livre ."],
        ["S′ = 1, 1 codes removed", "le professeur lit un livre ."],
        ["S′ = 3, 3 codes removed", "le **docteur** lit un livre ."],
        ["3 random codes removed", "le professeur lit un livre ."],
    ]
    assert str(examples_table(swept.evaluations, dataset="heldout_retain")) == ""
    unchanged = examples_table(swept.evaluations, rows=[2], dataset="heldout_retain")
    assert unchanged.to_markdown().count("le livre lit un livre .") == 5


def test_examples_need_the_model_before(unlearner, topic, generation, planted):
    with pytest.raises(ValueError, match="model before"):
        examples_table({})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a b c", "a b c"),
        ("a b c", "a x y c", "a **x y** c"),
        ("a b", "a", "a"),
        ("", "b", "**b**"),
        ("a", "", ""),
        ("a * b", "a * c", r"a \* **c**"),
    ],
)
def test_words_that_differ_are_bold(before, after, expected):
    assert marked(before, after) == expected


def test_bars_and_line_breaks_stay_inside_their_cell():
    assert markdown(["a"], [["x|y\nz"]]).splitlines()[-1] == r"| x\|y z |"


def test_run_times_are_measured_for_each_s_and_for_all_in_one_pass(unlearner, topic):
    result = runtimes(unlearner, topic, top_s=(4, 2), repeats=2)
    frame = result.to_pandas()
    assert list(frame.top_s) == ["2", "4", "all together"]
    assert (frame["mean"] > 0).all() and (frame["repeats"] == 2).all()
    assert frame["mean"].iloc[0] == pytest.approx(sum(result.seconds[2]) / 2)
    assert result.settings["pairs"] == 12 and result.settings["searches"] == "mcnemar at topic positions"
    assert len(result.to_markdown().splitlines()) == 2 + 3 + 2


def test_run_times_of_nothing_are_refused(unlearner, topic):
    with pytest.raises(ValueError, match="at least one"):
        runtimes(unlearner, topic, repeats=0)
