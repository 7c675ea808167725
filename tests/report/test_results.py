"""Evaluations and frontiers as data: what is left, what a record holds of them, and what is read back."""

import json
import math

import pytest

from excise.report import Condition, Evaluation, Frontier, Record, model_card, plot_frontier, write_report
from tests.helpers.evidence import class_evaluation, class_frontier, text_evaluation


@pytest.fixture
def evaluation():
    return Evaluation.from_dict(text_evaluation())


def scored(**scores: float) -> Evaluation:
    """An evaluation with one score, `x`, under each condition."""
    scores = {name.replace("_", " "): {"heldout": {"x": score}} for name, score in scores.items()}
    return Evaluation.from_dict(text_evaluation(scores=scores))


def test_what_is_left_is_of_the_telling_score_unless_another_is_asked_for(evaluation):
    assert evaluation.telling("heldout") == "recall" and evaluation.telling("heldout_retain") == "bleu"
    assert evaluation.share_left("heldout") == pytest.approx(0.1 / 0.7)
    assert evaluation.share_left("heldout", Condition.RANDOM) == 1
    assert evaluation.share_left("heldout_retain", metric="chrf", of=100) == pytest.approx(100 * 50.1 / 50.7)
    assert Evaluation.from_dict(class_evaluation()).telling("heldout_retain") == "accuracy"


@pytest.mark.parametrize(
    ("before", "after", "left"), [(4.0, 3.0, 0.75), (4.0, 5.0, 1.25), (-4.0, -5.0, 0.75), (-4.0, -3.0, 1.25)]
)
def test_what_is_left_is_gone_and_has_changed_are_one_number(before, after, left):
    evaluation = scored(before=before, after=after)
    assert evaluation.share_left("heldout", metric="x") == left
    assert evaluation.relative_drop("x", "heldout") == 1 - left
    assert evaluation.change("x", "heldout") == 100 * (left - 1)


@pytest.mark.parametrize("scores", [{"after": 1.0}, {"before": 0.0, "after": 1.0}, {"before": None, "after": 1.0}, {}])
def test_without_a_score_before_nothing_is_said_to_be_left(scores):
    evaluation = scored(**scores)
    assert math.isnan(evaluation.share_left("heldout", metric="x"))
    assert math.isnan(evaluation.share_left("heldout"))
    assert math.isnan(evaluation.change("x", "heldout"))


def test_a_normalised_drop_in_percent_is_no_number_where_the_fraction_is_refused():
    evaluation = scored(before=4.0, after=3.0, reference_model=2.0)
    assert evaluation.normalized_drop("x") == 0.5 and evaluation.drop("x", "heldout") == 50
    same = scored(before=4.0, after=3.0, reference_model=4.0)
    with pytest.raises(ValueError, match="score the same"):
        same.normalized_drop("x")
    assert math.isnan(same.drop("x", "heldout"))
    without = scored(before=4.0, after=3.0)
    with pytest.raises(ValueError, match=r"no 'x' of 'heldout' 'reference model'; .* evaluated: \['before', 'after'\]"):
        without.normalized_drop("x")
    assert math.isnan(without.drop("x", "heldout"))
    assert math.isnan(scored(before=4.0, after=float("inf"), reference_model=2.0).drop("x", "heldout"))


def test_a_score_or_condition_that_there_is_not_is_named(evaluation):
    with pytest.raises(ValueError, match="no 'meteor' of 'heldout' 'before'"):
        evaluation.relative_drop("meteor", "heldout")
    with pytest.raises(ValueError, match="no 'bleu' of 'heldout_retain' 'word cut out'"):
        evaluation.relative_drop(condition=Condition.CUT)


def test_a_score_has_the_bounds_of_its_own_interval_only(evaluation):
    assert evaluation.score("recall", "heldout", "after")[1:] == (0.0, 0.2, "0.100")
    assert evaluation.score("bleu", "heldout", "after") == (14.9, None, None, "14.9")
    assert evaluation.score("bleu", "heldout", "reference model") == (None, None, None, "–")
    assert scored(after=float("nan")).score("x", "heldout", "after").text == "–"


def test_measures_are_those_of_any_condition_and_no_counts(evaluation):
    assert evaluation.measures("heldout") == ["bleu", "chrf", "rest_bleu", "recall"]
    state = text_evaluation()
    state["scores"]["after"]["heldout"] |= {"meteor": 0.5, "signature": "x"}
    assert Evaluation.from_dict(state).measures("heldout")[-1] == "meteor"


def test_a_data_frame_has_a_row_for_each_condition_set_and_measure(evaluation):
    frame = evaluation.to_pandas()
    assert len(frame) == 3 * (4 + 2)
    row = frame[(frame.condition == "after") & (frame.metric == "bleu") & (frame.set == "heldout_retain")].iloc[0]
    assert (row.topic, row.codes, row.examples, row.score) == ("teacher", 2, 1, 30.1)
    assert row.change == pytest.approx(100 * (30.1 - 30.7) / 30.7) and math.isnan(row["drop"])
    assert set(frame.codes[frame.condition == "before"]) == {0}


def test_a_frontier_tells_what_is_left_and_of_nothing_no_number():
    frontier = Frontier.from_dict(class_frontier())
    last = frontier.points[-1]
    assert frontier.share_left(frontier.points[0]) == (1, 1)
    assert frontier.share_left(last, of=100) == (0, 100 * 0.75 / 0.8)
    assert frontier.relative_change(last) == pytest.approx(-6.25)
    nothing = Frontier.from_dict(class_frontier() | {"points": [[0, 0, 0.0, 0.0], [1, 1, 0.0, 0.0]]})
    assert all(map(math.isnan, (*nothing.share_left(last), nothing.relative_change(last))))


def test_a_record_gives_its_evaluations_and_frontiers_back(record):
    (evaluation,), (frontier,) = record.evaluations, record.frontiers
    assert evaluation == Evaluation.from_dict(text_evaluation())
    assert frontier == Frontier.from_dict(class_frontier())
    assert record.measured == (frontier, evaluation)


@pytest.mark.parametrize(
    "changes", [{"outputs": {}, "references": {}}, {"scores": {}, "outputs": {}}, {"outputs": {"after": {}}}]
)
def test_an_evaluation_of_which_a_record_holds_little_is_read_and_shown(forgetful, tmp_path, changes):
    record = Record.of(forgetful, evaluations=[text_evaluation(**changes)])
    write_report(record, tmp_path / "report")
    (evaluation,) = Record.load(tmp_path / "report").evaluations
    assert {name: getattr(evaluation, name) for name in changes} == changes
    assert "teacher" in repr(evaluation) and "teacher" in model_card(record).text


@pytest.mark.parametrize("name", ["cifar10-clip-codebook", "cifar10-resnet50-key-value"])
def test_the_records_of_published_models_are_read(root, name):
    record = Record.load(root / "model_cards" / name / "report")
    state = record.state
    for key, results in {"evaluations": record.evaluations, "frontiers": record.frontiers}.items():
        assert json.loads(json.dumps([result.to_dict() for result in results])) == state[key]
    assert model_card(record, load_with=f"someone/{name}").data.eval_results


def test_a_frontier_is_drawn_by_itself_or_with_others(tmp_path):
    frontier, other = Frontier.from_dict(class_frontier()), Frontier.from_dict(class_frontier("blue"))
    plot_frontier(frontier, tmp_path / "one.svg")
    plot_frontier([frontier], tmp_path / "same.svg")
    plot_frontier((each for each in (frontier, other)), tmp_path / "both.svg")
    one, same, both = ((tmp_path / f"{name}.svg").read_text() for name in ("one", "same", "both"))
    assert one == same and "blue by activations" not in one
    assert "red by activations" in both and "blue by activations" in both


def test_what_is_no_result_is_not_drawn_as_a_frontier(record, tmp_path):
    with pytest.raises(TypeError, match="draws frontiers and evaluations, and was given: str"):
        plot_frontier(record.state, tmp_path / "frontier.svg")
    assert not list(tmp_path.iterdir())
